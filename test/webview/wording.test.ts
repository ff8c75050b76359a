import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { announcement } from '../../webview/announcement.ts';
import { INITIAL_STATE, reduce } from '../../webview/state.ts';
import { duration, meterParts, progressLine, tokenCapacity, usedFraction } from '../../webview/wording.ts';

const TOKEN_USE = { contextLength: 131_072, repository: 93_120, conversation: 400, reserved: 8_192 };
const ASKED = reduce(INITIAL_STATE, { type: 'asked', requestId: 'r', question: 'q' });

describe('the progress line', () => {
  it('names files, tokens, share and time left while the repository is read', () => {
    const reading = {
      requestId: 'r',
      phase: 'reading',
      done: 66_200,
      total: 93_120,
      secondsLeft: 40,
    } as const;
    const state = reduce(ASKED, {
      type: 'progressed',
      progress: { ...reading, tokenUse: TOKEN_USE, fileCount: 412 },
    });
    assert.equal(progressLine(state).text, 'Reading repository: 412 files, 93,120 tokens, 71 %, 0:40 left');
  });

  it('does not speak of a repository that is not read', () => {
    const progress = { requestId: 'r', phase: 'reading', done: 0, total: 120 } as const;
    const line = progressLine(reduce(ASKED, { type: 'progressed', progress }));
    assert.deepEqual(line, { text: 'Reading the conversation: 120 tokens, 0 %', fraction: 0 });
  });

  it('says so while the sidecar is not there yet', () => {
    assert.equal(progressLine(ASKED).text, 'The sidecar is starting');
  });
});

describe('numbers', () => {
  it('are written for people', () => {
    assert.equal(duration(40.4), '0:40');
    assert.equal(duration(725), '12:05');
    assert.equal(duration(3_725), '1:02:05');
    assert.equal(tokenCapacity(131_072), '128K');
    assert.equal(tokenCapacity(5_000), '5,000');
  });

  it('of the meter add up to the window', () => {
    const total = meterParts(TOKEN_USE).reduce((sum, part) => sum + part.tokens, 0);
    assert.equal(total, TOKEN_USE.contextLength);
    assert.equal(usedFraction({ ...TOKEN_USE, repository: 200_000 }), 1);
  });
});

describe('announcements', () => {
  it('of what is read come at each quarter, not at each number', () => {
    const at = (done: number) =>
      reduce(ASKED, {
        type: 'progressed',
        progress: { requestId: 'r', phase: 'reading', done, total: 1000, secondsLeft: 40 },
      });
    assert.equal(announcement(at(100), at(240)), null);
    assert.equal(announcement(at(240), at(250)), 'Reading the conversation: 1,000 tokens, 25 %, 0:40 left');
    assert.equal(announcement(at(250), at(490)), null);
    assert.match(announcement(at(490), at(800)) ?? '', /80 %/);
  });

  it('are made at turning points only', () => {
    const first = reduce(ASKED, { type: 'streamed', requestId: 'r', text: 'a' });
    const second = reduce(first, { type: 'streamed', requestId: 'r', text: 'b' });
    assert.equal(announcement(INITIAL_STATE, ASKED), 'Question sent.');
    assert.equal(announcement(ASKED, first), 'The answer begins.');
    assert.equal(announcement(first, second), null);
    assert.equal(
      announcement(second, reduce(second, { type: 'stopped', requestId: 'r' })),
      'The answer was stopped.',
    );
    assert.equal(announcement(second, reduce(second, { type: 'cleared' })), 'New chat.');
  });
});
