import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePageMessage } from '../../extension/page-message.ts';

const KEY = '0123abcd-0123';
const REGION = { x: 1, y: 2, width: 3, height: 4 };
const PICTURE = {
  name: 'a.png',
  width: 2,
  height: 1,
  rgba: new ArrayBuffer(8),
  thumbnail: new ArrayBuffer(1),
  notes: ['Shrunk.'],
};

function request(body: unknown): unknown {
  return { type: 'request', id: 1, request: body };
}

describe('a message from the page', () => {
  it('is taken when it is one of ours, without anything added to it', () => {
    assert.deepEqual(parsePageMessage({ type: 'ready', extra: 1 }), { type: 'ready' });
    for (const body of [
      { type: 'ask', question: 'Where?' },
      { type: 'regenerate' },
      { type: 'stop' },
      { type: 'new-chat' },
      { type: 'show-context' },
      { type: 'detach', place: 'a.ts:1-3' },
      { type: 'copy', text: '' },
      { type: 'insert', text: 'x' },
      { type: 'open-file', path: 'a.ts', line: 1 },
      { type: 'open-file', path: 'a.ts', line: 1, endLine: 3 },
      { type: 'open-link', url: 'https://example.com' },
      { type: 'fix', action: 'show-log' },
      { type: 'preview', question: '' },
      { type: 'complete-mention', query: 'src/' },
      { type: 'attach-mention', kind: 'problems' },
      { type: 'drop', kind: 'turns', name: '2' },
      { type: 'drop', kind: 'image', name: 'Pasted picture' },
      { type: 'choose-pictures' },
      { type: 'remove-picture', key: KEY },
      { type: 'view-picture', key: KEY },
      { type: 'encode-again', key: KEY },
      { type: 'read-details', key: KEY, details: true },
      { type: 'picture-refused', key: KEY, message: 'x' },
      { type: 'attach-picture', key: KEY, picture: PICTURE },
      { type: 'choose-region', key: KEY, region: null, thumbnail: new ArrayBuffer(1) },
      { type: 'choose-region', key: KEY, region: REGION, thumbnail: new ArrayBuffer(1) },
    ]) {
      assert.deepEqual(parsePageMessage(request({ ...body, command: 'x' })), request(body));
    }
  });

  it('is dropped otherwise', () => {
    for (const message of [
      null,
      'ready',
      {},
      { type: 'request', id: 0, request: { type: 'stop' } },
      { type: 'request', id: 1.5, request: { type: 'stop' } },
      request(null),
      request({ type: 'unknown' }),
      request({ type: 'ask', question: '  ' }),
      request({ type: 'ask', question: 7 }),
      request({ type: 'copy', text: 'x'.repeat(4 * 1024 * 1024 + 1) }),
      request({ type: 'open-file', path: 'a.ts', line: 0 }),
      request({ type: 'open-file', path: ['a.ts'], line: 1 }),
      request({ type: 'attach-mention', kind: 'diff' }),
      request({ type: 'drop', kind: 'mention', name: 'a.ts' }),
      request({ type: 'remove-picture', key: '../../x' }),
      request({ type: 'attach-picture', key: KEY, picture: { ...PICTURE, width: 3 } }),
      request({ type: 'attach-picture', key: KEY, picture: { ...PICTURE, rgba: [0, 0, 0, 0, 0, 0, 0, 0] } }),
      request({ type: 'attach-picture', key: KEY, picture: { ...PICTURE, width: 30_000, height: 30_000 } }),
      request({
        type: 'attach-picture',
        key: KEY,
        picture: { ...PICTURE, thumbnail: new ArrayBuffer(2 ** 21) },
      }),
      request({
        type: 'choose-region',
        key: KEY,
        region: { ...REGION, x: NaN },
        thumbnail: new ArrayBuffer(1),
      }),
      request({ type: 'fix', action: 'toString' }),
      request({ type: 'fix', action: 'workbench.action.quit' }),
    ]) {
      assert.equal(parsePageMessage(message), null, JSON.stringify(message)?.slice(0, 80));
    }
  });
});
