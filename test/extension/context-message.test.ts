import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseContextMessage } from '../../extension/context-message.ts';

it('a message of the context panel is taken when it is one of ours, and names something in the workspace', () => {
  for (const message of [
    { type: 'ready' },
    { type: 'refresh' },
    { type: 'add' },
    { type: 'open-file', path: 'src/a.ts' },
    { type: 'choose', path: 'src/gen/', choice: 'dropped' },
    { type: 'choose', path: 'src/a.ts', choice: null },
  ])
    assert.deepEqual(parseContextMessage({ ...message, extra: 1 }), message);
  for (const message of [
    null,
    'ready',
    {},
    { type: 'open-file' },
    { type: 'open-file', path: '/etc/passwd' },
    { type: 'open-file', path: '../x' },
    { type: 'choose', path: 'a.ts', choice: 'deleted' },
    { type: 'fix', path: 'a.ts' },
  ])
    assert.equal(parseContextMessage(message), null);
});
