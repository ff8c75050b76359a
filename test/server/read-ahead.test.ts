/** Reading ahead, with the real engine on a tiny model: what a question finds read already. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import type { CostPreview } from '../../sidecar/protocol/context-types.ts';
import type { ChatResult, InitializationOptions } from '../../sidecar/protocol/methods.ts';
import { temporaryFolder, temporaryRepository, writeFiles } from '../support/repository.ts';
import { REAL_SIDECAR, SidecarClient } from '../support/sidecar-client.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

const model = path.join(temporaryFolder(), 'nano.gguf');
before(() => writeTinyModel(model));

const code = (name: string, lines = 40) =>
  Array.from({ length: lines }, (_, i) => `export const ${name}${i} = ${i};\n`).join('');
/** What a question and its frame take; everything else should have been read. */
const QUESTION_TOKENS = 120;
/** What the shortest question takes, once all before it has been read: less than the facts and words of a real one. */
const SHORTEST_TOKENS = 40;

const start = (folder: string, options: Partial<InitializationOptions> = {}) =>
  SidecarClient.start({
    program: REAL_SIDECAR,
    folders: [folder],
    initializationOptions: { modelPath: model, contextLength: 8192, threads: 1, readAhead: true, ...options },
  });
const chat = (client: SidecarClient, requestId: string, turns: readonly object[]) =>
  client.connection.sendRequest<ChatResult>('gemma/chat', { requestId, turns, useRepository: true });
const user = (text: string) => ({ role: 'user', text });
/** Resolves once a question would read next to nothing. */
async function readAhead(client: SidecarClient, turns: readonly object[] = []): Promise<void> {
  const draft = { turns: [...turns, user('?')], useRepository: true };
  for (;;) {
    const { toRead } = await client.connection.sendRequest<CostPreview>('gemma/preview', draft);
    if (toRead < SHORTEST_TOKENS) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test('the repository is read when it is opened, and after an edit what changed: questions then read little', async () => {
  const folder = temporaryRepository({ 'a.ts': code('a'), 'b.ts': code('b'), 'c.ts': code('c') });
  const client = await start(folder);
  await readAhead(client);
  const first = await chat(client, 'first', [user('Where is `a7` defined?')]);
  assert.ok(first.cachedTokens > 1000 && first.promptTokens - first.cachedTokens < QUESTION_TOKENS);
  const turns = [user('Where is `a7` defined?'), { role: 'model', text: first.text }];

  writeFiles(folder, { 'b.ts': code('b').replaceAll(' = 2', ' = 7') });
  const uri = `file://${path.join(folder, 'b.ts')}`;
  await client.connection.sendNotification('workspace/didChangeWatchedFiles', {
    changes: [{ uri, type: 2 }],
  });
  await readAhead(client, turns);
  await readAhead(client);
  const second = await chat(client, 'second', [...turns, user('And b?')]);
  assert.ok(second.files.some(({ as }) => as === 'changed'));
  assert.ok(second.cachedTokens > first.promptTokens, 'the conversation and the change are read');
  assert.ok(second.promptTokens - second.cachedTokens < QUESTION_TOKENS);
  const other = await chat(client, 'other', [user('And in a new conversation?')]);
  assert.ok(other.promptTokens - other.cachedTokens < QUESTION_TOKENS, `${other.cachedTokens} cached`);
  assert.equal(await client.stop(), 0);
});

test('typing counts as a change, once it pauses', async () => {
  const folder = temporaryRepository({ 'a.ts': code('a'), 'b.ts': code('b') });
  const client = await start(folder);
  await readAhead(client);
  const textDocument = { uri: `file://${path.join(folder, 'a.ts')}`, languageId: 'typescript', version: 1 };
  await client.connection.sendNotification('textDocument/didOpen', {
    textDocument: { ...textDocument, text: code('a') },
  });
  await client.connection.sendNotification('textDocument/didChange', {
    textDocument: { ...textDocument, version: 2 },
    contentChanges: [{ text: code('a').replace('a30 = 30', 'typed = 30') }],
  });
  await readAhead(client);
  const answer = await chat(client, 'r', [user('What is new?')]);
  assert.ok(answer.files.some(({ path, as }) => path === 'a.ts' && as === 'changed'));
  assert.ok(answer.promptTokens - answer.cachedTokens < QUESTION_TOKENS);
  assert.equal(await client.stop(), 0);
});

test('after a restart it comes from disk; turned off, or not trusted, nothing is read', async () => {
  const folder = temporaryRepository({ 'a.ts': code('a'), 'b.ts': code('b') });
  const client = await start(folder);
  await readAhead(client);
  assert.equal(await client.stop(), 0);
  const again = await start(folder);
  await again.until(() => again.statuses.at(-1)?.state === 'ready');
  const restored = await chat(again, 'r', [user('Where?')]);
  assert.ok(restored.promptTokens - restored.cachedTokens < QUESTION_TOKENS);
  assert.equal(await again.stop(), 0);
  for (const options of [{ readAhead: false }, { workspaceTrusted: false }]) {
    const off = await start(temporaryRepository({ 'a.ts': code('other') }), options);
    await off.until(() => off.statuses.at(-1)?.state === 'ready');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.ok(off.statuses.every((status) => status.readingAhead === undefined));
    const first = await chat(off, 'r', [user('Where?')]);
    // Rules and the first header stand in the store, from other questions.
    assert.ok(first.cachedTokens <= 64, `${first.cachedTokens} cached`);
    assert.equal(await off.stop(), 0);
  }
});

test('where not everything fits, what a draft in the chat box would begin with is read while it stands there', async () => {
  const names = ['a', 'b', 'c', 'd'];
  const folder = temporaryRepository(
    Object.fromEntries(names.map((name) => [`${name}.ts`, code(name, 200)])),
  );
  const client = await start(folder);
  const draft = { turns: [user('Where is `b7` defined?')], useRepository: true };
  const preview = () => client.connection.sendRequest<CostPreview>('gemma/preview', draft);
  const first = await preview();
  assert.ok(first.toRead > 1000, `${first.toRead} to read`);
  while ((await preview()).toRead >= QUESTION_TOKENS)
    await new Promise((resolve) => setTimeout(resolve, 100));
  const answer = await chat(client, 'sent', draft.turns);
  assert.ok(answer.leftOut.some(({ reason }) => reason === 'budget'));
  assert.ok(answer.promptTokens - answer.cachedTokens < QUESTION_TOKENS);
  assert.equal(await client.stop(), 0);
});
