import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatResult, Status } from '../../sidecar/protocol/methods.ts';
import { temporaryFolder } from '../support/repository.ts';
import { SidecarClient } from '../support/sidecar-client.ts';

const ask = (client: SidecarClient, text: string, requestId = 'r1') =>
  client.connection.sendRequest<ChatResult>('gemma/chat', {
    requestId,
    turns: [{ role: 'user', text }],
    useRepository: true,
  });

for (const packed of [true, false]) {
  for (const ownDescriptor of [true, false]) {
    test(`a chat streams ${packed ? 'packed' : 'as JSON'}, replies on ${ownDescriptor ? 'their own descriptor' : 'stdout'}`, async () => {
      const folder = temporaryFolder({ 'a.ts': 'export const answer = 42;\n' });
      const client = await SidecarClient.start({ packed, ownDescriptor, folders: [folder] });
      const result = await ask(client, 'Where is the answer?');
      assert.equal(result.text, 'The answer is in a.ts:1.');
      assert.equal(client.deltas.map((d) => d.text).join(''), result.text);
      assert.equal(result.stopReason, 'end');
      assert.deepEqual(
        result.files.map((f) => f.path),
        ['a.ts'],
      );
      assert.deepEqual(result.citations, [{ start: 17, end: 23, path: 'a.ts', line: 1 }]);
      assert.ok(client.progress.some((p) => p.phase === 'reading' && p.total === result.promptTokens));
      const status = await client.connection.sendRequest<Status>('gemma/status', null);
      assert.equal(status.state, 'ready');
      assert.equal(await client.stop(), 0);
    });
  }
}

test('attachments stand in the prompt, each before its question', async () => {
  const client = await SidecarClient.start({ environment: { SCRIPTED_ANSWER: '{prompt}' } });
  const selection = (path: string, startLine: number, text: string) => ({
    kind: 'selection',
    path,
    startLine,
    text,
  });
  const { text, citations } = await client.connection.sendRequest<ChatResult>('gemma/chat', {
    requestId: 'r1',
    turns: [
      { role: 'user', text: 'One?', attachments: [selection('src/a.ts', 7, 'const a = 1;\r\n')] },
      { role: 'model', text: 'It is in src/b.ts:41.' },
      { role: 'user', text: 'Two?' },
    ],
    useRepository: false,
    attachments: [selection('src/b.ts', 41, 'const b = 2;')],
  });
  assert.equal(
    text.replace(/<[^>]+>/g, ''),
    'user\n=== src/a.ts\n7| const a = 1;\n\nQuestion: One?\n' +
      'model\nIt is in src/b.ts:41.\n' +
      'user\n=== src/b.ts\n41| const b = 2;\n\nQuestion: Two?\nmodel\n',
  );
  assert.deepEqual(
    citations.map(({ path, line }) => `${path}:${line}`),
    ['src/b.ts:41'],
  );
  assert.equal(await client.stop(), 0);
});
