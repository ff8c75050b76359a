import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContextReport, CostPreview, Mention } from '../../sidecar/protocol/context-types.ts';
import { ErrorCode } from '../../sidecar/protocol/errors.ts';
import { temporaryFolder } from '../support/repository.ts';
import { SidecarClient } from '../support/sidecar-client.ts';

const FILES = {
  'src/a.ts': 'export const answer = 42;\n',
  'src/b.ts': 'export const b = 1;\n',
  'x.png': 'p',
};

test('a preview says what sending costs, before and after; the report says what fills the window', async () => {
  const client = await SidecarClient.start({ folders: [temporaryFolder(FILES)] });
  const draft = { turns: [{ role: 'user', text: 'Where?' }], useRepository: true };
  const before = await client.connection.sendRequest<CostPreview>('gemma/preview', draft);
  assert.equal(before.toRead, before.promptTokens);
  const { promptTokens } = await client.connection.sendRequest<{ promptTokens: number }>('gemma/chat', {
    ...draft,
    requestId: 'r',
  });
  assert.equal(promptTokens, before.promptTokens, 'the preview is exact');
  const after = await client.connection.sendRequest<CostPreview>('gemma/preview', draft);
  assert.equal(after.cachedInMemory, promptTokens);
  assert.equal(after.toRead, 0);

  const choice = { pinned: [], dropped: ['src/b.ts'] };
  const report = await client.connection.sendRequest<ContextReport>('gemma/context', { choice });
  assert.equal(report.root.files, 3);
  const src = report.root.children?.find(({ name }) => name === 'src');
  assert.deepEqual(
    src?.children?.map(({ name, reason }) => [name, reason]),
    [
      ['a.ts', undefined],
      ['b.ts', 'dropped'],
    ],
  );
  assert.equal(report.tokens.head, report.root.tokens.cached + report.root.tokens.fresh);
  assert.equal(await client.stop(), 0);
});

test('a draft that is too long says by how much and what could go; sent, it fails with the same', async () => {
  const client = await SidecarClient.start({ folders: [temporaryFolder(FILES)] });
  const draft = {
    turns: [{ role: 'user', text: 'Why?' }],
    useRepository: true,
    attachments: [{ kind: 'terminal', path: 'terminal', startLine: 1, text: 'x'.repeat(100_000) }],
  };
  const preview = await client.connection.sendRequest<CostPreview>('gemma/preview', draft);
  assert.ok((preview.overLong?.needed ?? 0) > (preview.overLong?.available ?? 0));
  assert.deepEqual(preview.overLong?.offers, [{ kind: 'attachment', name: 'terminal', tokens: 100_000 }]);
  await assert.rejects(client.connection.sendRequest('gemma/chat', { ...draft, requestId: 'r' }), {
    code: ErrorCode.ContextFull,
    data: preview.overLong,
  });
  assert.equal(await client.stop(), 0);
});

test('mentions are completed: things, files and folders', async () => {
  const client = await SidecarClient.start({ folders: [temporaryFolder({ ...FILES, 'my file.ts': 'x' })] });
  const find = async (query: string) =>
    (await client.connection.sendRequest<Mention[]>('gemma/mentions', { query })).map(({ insert }) => insert);
  assert.deepEqual((await find('')).slice(0, 4), ['@selection', '@problems', '@diff', '@terminal']);
  assert.deepEqual(await find('file:b'), ['@src/b.ts']);
  assert.deepEqual(await find('folder:s'), ['@src/']);
  assert.deepEqual(await find('my'), ['@"my file.ts"']);
  assert.equal(await client.stop(), 0);
});

test('wrong parameters are errors, not faults', async () => {
  const client = await SidecarClient.start({});
  for (const [method, params] of [
    ['gemma/mentions', { query: 3 }],
    ['gemma/preview', { turns: [] }],
    ['gemma/context', { choice: { pinned: 'x', dropped: [] } }],
  ] as const) {
    await assert.rejects(client.connection.sendRequest(method, params), { code: -32602 });
  }
  assert.equal(await client.stop(), 0);
});
