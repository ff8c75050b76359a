import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ChatProgress, ChatResult } from '../../sidecar/protocol/methods.ts';
import { clampRegion, type Picture } from '../../webview/picture.ts';
import {
  type Attachment,
  activity,
  allPictures,
  type ChatEvent,
  type ChatState,
  completedExchanges,
  INITIAL_STATE,
  isBusy,
  reduce,
  restoredState,
} from '../../webview/state.ts';

const PICTURE: Picture = {
  key: 'a',
  name: 'a.png',
  width: 4,
  height: 4,
  details: false,
  notes: [],
  encoding: { state: 'stopped' },
};

const TOKEN_USE = { contextLength: 8192, repository: 5000, conversation: 40, reserved: 1024 };

function result(requestId: string, text: string, stopReason: ChatResult['stopReason'] = 'end'): ChatResult {
  return {
    requestId,
    text,
    stopReason,
    promptTokens: 5040,
    cachedTokens: 5000,
    generatedTokens: 20,
    keptTokens: 0,
    prefillMs: 100,
    decodeMs: 500,
    tokenUse: TOKEN_USE,
    files: [{ path: 'src/a.ts', tokens: 12 }],
    leftOut: [{ path: 'logo.png', reason: 'binary' }],
    leftOutMore: { files: 7, forRoom: 3 },
    citations: text.includes('a.ts:1') ? [{ start: 3, end: 13, path: 'lib/src/a.ts', line: 1 }] : [],
    notes: [],
  };
}

function progress(requestId: string, more: Partial<ChatProgress> = {}): ChatProgress {
  return { requestId, phase: 'reading', done: 10, total: 100, ...more };
}

function stateAfter(...events: ChatEvent[]): ChatState {
  return events.reduce(reduce, INITIAL_STATE);
}

const ASKED: ChatEvent = { type: 'asked', requestId: 'r1', question: 'Where is add?' };

describe('the chat reducer', () => {
  it('reads, streams and ends an answer', () => {
    const reading = stateAfter(ASKED, {
      type: 'progressed',
      progress: progress('r1', { tokenUse: TOKEN_USE, fileCount: 3 }),
    });
    assert.equal(activity(reading), 'reading');
    assert.equal(reading.promptUse?.fileCount, 3);

    const streaming = reduce(reading, { type: 'streamed', requestId: 'r1', text: 'In src' });
    assert.equal(activity(streaming), 'streaming');
    assert.equal(streaming.progress, null);
    assert.ok(isBusy(streaming));

    const done = reduce(streaming, { type: 'answered', result: result('r1', 'In src/a.ts:1.') });
    assert.equal(activity(done), 'idle');
    assert.deepEqual(done.messages.at(-1), {
      role: 'model',
      requestId: 'r1',
      text: 'In src/a.ts:1.',
      end: 'complete',
      notes: [],
      citedPaths: { 'src/a.ts': 'lib/src/a.ts' },
      speed: {
        generatedTokens: 20,
        decodeTokensPerSecond: 40,
        prefillMs: 100,
        cachedTokens: 5000,
        promptTokens: 5040,
      },
    });
    assert.equal(done.promptUse?.leftOut[0]?.path, 'logo.png');
    assert.equal(done.promptUse?.leftOutMore?.files, 7);
  });

  it('keeps what was streamed when a cancelled request reports less', () => {
    const state = stateAfter(
      ASKED,
      { type: 'streamed', requestId: 'r1', text: 'In src/a.ts' },
      { type: 'answered', result: result('r1', '', 'cancelled') },
    );
    const answer = state.messages.at(-1);
    assert.equal(answer?.text, 'In src/a.ts');
    assert.equal(answer?.role === 'model' && answer.end, 'stopped');
    assert.equal(answer?.role === 'model' && answer.keptTokens, 0);
  });

  it('ignores late messages of a request that is over', () => {
    const cleared = stateAfter(ASKED, { type: 'cleared' });
    for (const late of [
      { type: 'streamed', requestId: 'r1', text: 'x' },
      { type: 'progressed', progress: progress('r1') },
      { type: 'answered', result: result('r1', 'x') },
      { type: 'failed', requestId: 'r1', failure: { message: 'x', fixes: [] } },
    ] satisfies ChatEvent[]) {
      assert.equal(reduce(cleared, late), cleared);
    }
  });

  it('replaces the last answer when it is asked for again', () => {
    const again = stateAfter(
      ASKED,
      { type: 'answered', result: result('r1', 'First') },
      { type: 'asked-again', requestId: 'r2' },
    );
    assert.deepEqual(
      again.messages.map((message) => message.text),
      ['Where is add?', ''],
    );
    assert.ok(isBusy(again));
  });

  it('shows a failure on its answer, and keeps the text so far', () => {
    const failed = stateAfter(
      ASKED,
      { type: 'streamed', requestId: 'r1', text: 'In' },
      { type: 'failed', requestId: 'r1', failure: { message: 'It stopped.', fixes: ['restart-sidecar'] } },
    );
    const answer = failed.messages.at(-1);
    assert.equal(activity(failed), 'error');
    assert.equal(answer?.text, 'In');
    assert.equal(answer?.role === 'model' && answer.failure?.message, 'It stopped.');
  });

  it('is in error while no model can answer', () => {
    const failure = { message: 'No model.', fixes: ['choose-model'] } as const;
    const stopped = reduce(INITIAL_STATE, {
      type: 'sidecar-changed',
      sidecar: { state: 'stopped', failure },
    });
    assert.equal(activity(stopped), 'error');
    assert.equal(
      activity(reduce(stopped, { type: 'sidecar-changed', sidecar: { state: 'running' } })),
      'idle',
    );
  });
});

describe('the conversation', () => {
  it('is sent without failed questions', () => {
    const state = stateAfter(
      ASKED,
      { type: 'answered', result: result('r1', 'In src/a.ts:1.') },
      { type: 'asked', requestId: 'r2', question: 'And sub?' },
      { type: 'failed', requestId: 'r2', failure: { message: 'No.', fixes: [] } },
    );
    assert.deepEqual(
      completedExchanges(state.messages).map(({ question, answer }) => [question.text, answer.text]),
      [['Where is add?', 'In src/a.ts:1.']],
    );
  });

  it('comes back from a restart with its open answer marked as stopped', () => {
    const restored = restoredState(stateAfter(ASKED, { type: 'streamed', requestId: 'r1', text: 'In' }));
    const answer = restored.messages.at(-1);
    assert.equal(answer?.role === 'model' && answer.end, 'stopped');
  });

  it('comes back with its pictures, none of them being read', () => {
    const ready = { state: 'ready', imageId: 'i', tokens: 260 } as const;
    const picture = (key: string, encoding: Picture['encoding']): ChatEvent => ({
      type: 'picture-attached',
      picture: { ...PICTURE, key, encoding },
    });
    const asked = stateAfter(
      picture('a', ready),
      picture('b', { state: 'encoding', layer: 3, layers: 27, image: 1, images: 1 }),
      ASKED,
      picture('c', ready),
    );
    assert.deepEqual(
      allPictures(restoredState(asked)).map(({ key, encoding }) => [key, encoding.state]),
      [
        ['a', 'ready'],
        ['b', 'stopped'],
        ['c', 'stopped'],
      ],
    );
  });
});

describe('a selection', () => {
  const selection: Attachment = { path: 'src/a.ts', startLine: 3, endLine: 4, text: 'a\nb' };
  const attach = (attachment: Attachment): ChatEvent => ({ type: 'attached', attachment });

  it('goes along with the next question only', () => {
    const state = stateAfter(attach(selection), ASKED);
    assert.deepEqual(state.messages[0], { role: 'user', text: 'Where is add?', attachments: [selection] });
    assert.deepEqual(state.attachments, []);
  });

  it('is there once for each place, with its newest text', () => {
    const newer = { ...selection, text: 'c\nd' };
    const other = { ...selection, endLine: 3 };
    assert.deepEqual(stateAfter(attach(selection), attach(other), attach(newer)).attachments, [other, newer]);
  });

  it('is taken off by its place, and by a new chat', () => {
    const attached = stateAfter(attach(selection));
    assert.deepEqual(reduce(attached, { type: 'detached', place: 'src/a.ts:3-4' }).attachments, []);
    assert.equal(reduce(attached, { type: 'detached', place: 'src/a.ts:3' }), attached);
    assert.deepEqual(reduce(attached, { type: 'cleared' }).attachments, []);
  });
});

describe('a picture', () => {
  const picture: Picture = {
    key: 'k',
    name: 'a.png',
    width: 40,
    height: 20,
    details: false,
    notes: [],
    encoding: { state: 'waiting' },
  };
  const ready: Picture = { ...picture, encoding: { state: 'ready', imageId: 'i', tokens: 260 } };
  const attach: ChatEvent = { type: 'picture-attached', picture };
  const change: ChatEvent = { type: 'picture-changed', picture: ready };

  it('goes along with the next question only, and may become ready after it was asked', () => {
    const state = stateAfter(attach, ASKED, change);
    assert.deepEqual(state.messages[0], { role: 'user', text: 'Where is add?', pictures: [ready] });
    assert.deepEqual(state.pictures, []);
  });

  it('changes in its place, and not once it was taken off', () => {
    assert.deepEqual(stateAfter(attach, change).pictures, [ready]);
    const gone = stateAfter(attach, { type: 'picture-removed', key: 'k' });
    assert.deepEqual(gone.pictures, []);
    assert.equal(reduce(gone, change), gone);
  });

  it('can be sent in part only where something of that part is in it', () => {
    assert.deepEqual(clampRegion({ x: -5, y: 3, width: 20, height: 99 }, 40, 20), {
      x: 0,
      y: 3,
      width: 15,
      height: 17,
    });
    assert.equal(clampRegion({ x: 38, y: 0, width: 20, height: 20 }, 40, 20), null);
    assert.equal(clampRegion({ x: 0, y: 0, width: 40, height: 20 }, 40, 20), null);
  });
});

describe('a question that does not fit', () => {
  const overLong = { needed: 9000, available: 8000, offers: [] };
  const attachment = { path: 'src/a.ts', startLine: 3, endLine: 4, text: 'a\nb' };
  const taken: ChatEvent = { type: 'taken-back', requestId: 'r1', overLong };

  it('goes back with all that went along, and nothing of the conversation is lost', () => {
    const before = stateAfter(
      { type: 'asked', requestId: 'r0', question: 'One?' },
      { type: 'answered', result: result('r0', 'Yes.') },
      { type: 'attached', attachment },
    );
    const after = [ASKED, taken].reduce(reduce, before);
    assert.deepEqual(after, { ...before, overLong });
    assert.equal(isBusy(after), false);
  });

  it('is not taken back once it is over, and its warning ends with a question or a new cost', () => {
    const stopped = stateAfter(ASKED, { type: 'stopped', requestId: 'r1' });
    assert.equal(reduce(stopped, taken), stopped);
    const warned = stateAfter(ASKED, taken);
    assert.equal(reduce(warned, ASKED).overLong, null);
    assert.equal(reduce(warned, { type: 'previewed', preview: null }).overLong, null);
  });

  it('has more room when the first turns are forgotten', () => {
    const events: ChatEvent[] = ['a', 'b', 'c'].flatMap((requestId) => [
      { type: 'asked', requestId, question: requestId },
      { type: 'answered', result: result(requestId, 'x') },
    ]);
    const left = stateAfter(...events, { type: 'turns-dropped', turns: 4 });
    assert.deepEqual(
      left.messages.map(({ text }) => text),
      ['c', 'x'],
    );
  });
});
