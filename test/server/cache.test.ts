/** KV on disk as the editor sees it: what a question would find there, how much lies there, deleting it, and its limits. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { clearStore, reportStore } from '../../sidecar/engine/kv/store/limits.ts';
import type { ContextReport, CostPreview } from '../../sidecar/protocol/context-types.ts';
import type { CacheReport, ChatResult, InitializationOptions } from '../../sidecar/protocol/methods.ts';
import { temporaryFolder } from '../support/repository.ts';
import { REAL_SIDECAR, SidecarClient } from '../support/sidecar-client.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

const folder = temporaryFolder();
const model = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(model));

const repository = temporaryFolder({ 'a.ts': 'export const answer = 42;\n'.repeat(40) });
const QUESTION = { turns: [{ role: 'user', text: 'Where is the answer?' }], useRepository: true };

function start(cacheFolder: string | null, cache?: InitializationOptions['cache']) {
  return SidecarClient.start({
    program: REAL_SIDECAR,
    folders: [repository],
    arguments: cacheFolder === null ? ['--no-cache'] : ['--cache-dir', cacheFolder],
    initializationOptions: { modelPath: model, contextLength: 2048, threads: 1, ...(cache && { cache }) },
  });
}
const ask = (client: SidecarClient, requestId: string) =>
  client.connection.sendRequest<ChatResult>('gemma/chat', { ...QUESTION, requestId });
const preview = (client: SidecarClient) =>
  client.connection.sendRequest<CostPreview>('gemma/preview', QUESTION);
const context = (client: SidecarClient) => client.connection.sendRequest<ContextReport>('gemma/context', {});
const report = (client: SidecarClient) =>
  client.connection.sendRequest<CacheReport>('gemma/cacheReport', null);

test('after a restart a preview says what will come from disk, and the report says how much lies there', async () => {
  const cacheFolder = temporaryFolder();
  const first = await start(cacheFolder);
  const nothing = await preview(first);
  assert.deepEqual([nothing.cachedInMemory, nothing.cachedOnDisk], [0, 0]);
  assert.deepEqual((await context(first)).disk, { bytes: 0, limit: 16e9 });
  await ask(first, 'a');
  assert.ok((await preview(first)).cachedInMemory > 0);
  assert.equal(await first.stop(), 0);

  const second = await start(cacheFolder, { maxGigabytes: 3, maxDays: 2 });
  const expected = await preview(second);
  assert.equal(expected.cachedInMemory, 0);
  assert.ok(expected.cachedOnDisk > 0);
  assert.equal(expected.toRead, expected.promptTokens - expected.cachedOnDisk);
  const shown = await context(second);
  assert.ok(shown.cachedOnDisk > 0 && shown.root.tokens.cached > 0);
  const held = await report(second);
  assert.equal(held.folder, cacheFolder);
  assert.deepEqual(shown.disk, { bytes: held.bytes, limit: 3e9 });
  assert.equal(held.limitBytes, 3e9);
  assert.ok(held.entries >= 2 && held.tokens >= expected.cachedOnDisk);
  const answer = await ask(second, 'b');
  assert.equal(answer.restoredTokens, expected.cachedOnDisk, 'the preview was exact');

  const { freedBytes } = await second.connection.sendRequest<{ freedBytes: number }>(
    'gemma/clearCache',
    null,
  );
  assert.ok(freedBytes >= held.bytes);
  const { bytes, entries, tokens } = await report(second);
  assert.deepEqual({ bytes, entries, tokens }, { bytes: 0, entries: 0, tokens: 0 });
  assert.deepEqual((await reportStore(cacheFolder)).models, []);
  assert.equal(await second.stop(), 0);
});

test('switched off, in the settings or on the command line, nothing is kept and no limit is named', async () => {
  const cacheFolder = temporaryFolder();
  for (const [at, enabled] of [
    [cacheFolder, false],
    [null, true],
  ] as const) {
    const client = await start(at, { enabled });
    await ask(client, 'a');
    const { bytes, limitBytes, entries } = await report(client);
    assert.deepEqual({ bytes, limitBytes, entries }, { bytes: 0, limitBytes: 0, entries: 0 });
    assert.equal((await context(client)).disk, undefined);
    const cleared = await client.connection.sendRequest('gemma/clearCache', null);
    assert.deepEqual(cleared, { freedBytes: 0 });
    assert.equal(await client.stop(), 0);
  }
  assert.equal(await clearStore(cacheFolder), 0);
});

test('limits that make no sense are named in the error', async () => {
  for (const [cache, wrong] of [
    [{ maxGigabytes: 'many' }, /cache\.maxGigabytes/],
    [{ maxDays: '7' }, /cache\.maxDays/],
    [7, /cache/],
  ] as const) {
    await assert.rejects(start(null, cache as unknown as InitializationOptions['cache']), wrong);
  }
});

test('a cache folder that cannot be written is said with one answer, and answers go on', async () => {
  const client = await start(path.join(model, 'below-a-file'));
  const said = (answer: ChatResult) => answer.notes.filter((note) => /not kept on disk for now/.test(note));
  const notes: string[] = [];
  // Writing happens in the background, so the first answer may be out before it fails.
  for (let i = 0; notes.length === 0; i++) notes.push(...said(await ask(client, `first-${i}`)));
  assert.equal(notes.length, 1);
  for (const id of ['x', 'y']) assert.deepEqual(said(await ask(client, id)), []);
  assert.equal(await client.stop(), 0);
});
