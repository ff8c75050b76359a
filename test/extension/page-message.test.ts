import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePageMessage } from '../../extension/page-message.ts';

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
      { type: 'detach', place: 'a.ts:1-3' },
      { type: 'copy', text: '' },
      { type: 'insert', text: 'x' },
      { type: 'open-file', path: 'a.ts', line: 1 },
      { type: 'open-file', path: 'a.ts', line: 1, endLine: 3 },
      { type: 'open-link', url: 'https://example.com' },
      { type: 'fix', action: 'show-log' },
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
      request({ type: 'fix', action: 'toString' }),
      request({ type: 'fix', action: 'workbench.action.quit' }),
    ]) {
      assert.equal(parsePageMessage(message), null, JSON.stringify(message)?.slice(0, 80));
    }
  });
});
