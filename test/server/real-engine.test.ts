/** The whole sidecar, real engine included, on a tiny model. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { CancellationTokenSource, type ResponseError } from 'vscode-jsonrpc';
import { ErrorCode } from '../../sidecar/protocol/errors.ts';
import type { ChatResult, ModelInfo, Status } from '../../sidecar/protocol/methods.ts';
import { temporaryFolder } from '../support/repository.ts';
import { REAL_SIDECAR, SidecarClient } from '../support/sidecar-client.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

const folder = temporaryFolder();
const model = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(model));

const start = (contextLength: number, modelPath = model) =>
  SidecarClient.start({
    program: REAL_SIDECAR,
    folders: [temporaryFolder({ 'a.ts': 'export const answer = 42;\n'.repeat(40) })],
    initializationOptions: { modelPath, contextLength, threads: 1 },
  });
const params = (text: string, requestId: string) => ({
  requestId,
  turns: [{ role: 'user', text }],
  useRepository: true,
});

test('loads in the background, answers, and reuses what it has read', async () => {
  const client = await start(2048);
  const first = await client.connection.sendRequest<ChatResult>(
    'gemma/chat',
    params('Where is the answer?', 'a'),
  );
  assert.ok(first.generatedTokens > 0);
  assert.equal(client.deltas.map((d) => d.text).join(''), first.text);
  const second = await client.connection.sendRequest<ChatResult>('gemma/chat', params('And why?', 'b'));
  assert.ok(second.cachedTokens > first.tokenUse.repository / 2, `${second.cachedTokens} cached`);
  const status = await client.connection.sendRequest<Status>('gemma/status', null);
  assert.equal(status.state, 'ready');
  assert.equal(status.model?.path, model);
  assert.ok((status.decodeTokensPerSecond ?? 0) > 0);
  assert.ok(client.statuses.some((s) => s.state === 'busy'));
  assert.equal(await client.stop(), 0);
});

test('cancel is answered while reading and while answering, and the next question is answered in full', async () => {
  const client = await start(8192);
  const long = `Where? ${'word '.repeat(1000)}`;
  const reading = new CancellationTokenSource();
  const first = client.connection.sendRequest<ChatResult>('gemma/chat', params(long, 'a'), reading.token);
  await client.until(() => client.progress.some((p) => p.phase === 'reading' && p.done > 0));
  reading.cancel();
  assert.equal((await first).stopReason, 'cancelled');
  const answering = new CancellationTokenSource();
  const second = client.connection.sendRequest<ChatResult>(
    'gemma/chat',
    params('Where?', 'b'),
    answering.token,
  );
  await client.until(() => client.deltas.some((d) => d.requestId === 'b'));
  answering.cancel();
  const stopped = await second;
  assert.equal(stopped.stopReason, 'cancelled');
  assert.ok(stopped.generatedTokens > 0);
  assert.equal(await client.stop(), 0);
});

test('a missing model is a state and an error, and another one can be chosen', async () => {
  const client = await start(1024, path.join(folder, 'none.gguf'));
  await assert.rejects(
    client.connection.sendRequest('gemma/chat', params('hi', 'a')),
    (error: ResponseError<void>) =>
      error.code === ErrorCode.Model && /none\.gguf does not exist/.test(error.message),
  );
  const failed = await client.connection.sendRequest<Status>('gemma/status', null);
  assert.equal(failed.state, 'failed');
  assert.match(failed.error ?? '', /does not exist/);
  await client.connection.sendRequest('gemma/selectModel', { path: model });
  const answer = await client.connection.sendRequest<ChatResult>('gemma/chat', params('hi', 'b'));
  assert.ok(answer.generatedTokens > 0);
  const models = await client.connection.sendRequest<ModelInfo[]>('gemma/models', null);
  assert.ok(models.every((m) => m.fileBytes > 0));
  assert.equal(await client.stop(), 0);
});
