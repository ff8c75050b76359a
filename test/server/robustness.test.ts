import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { CancellationTokenSource, type ResponseError } from 'vscode-jsonrpc';
import { ErrorCode } from '../../sidecar/protocol/errors.ts';
import type { ChatResult, Status } from '../../sidecar/protocol/methods.ts';
import { temporaryFolder } from '../support/repository.ts';
import { SidecarClient } from '../support/sidecar-client.ts';

const chat = (client: SidecarClient, text: string, more: object = {}) =>
  client.connection.sendRequest<ChatResult>('gemma/chat', {
    requestId: 'r',
    turns: [{ role: 'user', text }],
    useRepository: false,
    ...more,
  });

test('prints from anywhere in the process do not reach the protocol', async () => {
  for (const ownDescriptor of [true, false]) {
    const client = await SidecarClient.start({ ownDescriptor, environment: { SCRIPTED_PRINT: '1' } });
    const result = await chat(client, 'hello');
    assert.equal(result.text, 'The answer is in a.ts:1.');
    await client.until(() => client.log.includes('another stray print'));
    assert.match(client.log, /a stray print/);
    assert.equal(await client.stop(), 0);
  }
});

test('a cancelled chat answers with what it had and says so', async () => {
  // Numbered, since the same word over and over is ended as a loop before a busy machine gets to cancel it.
  const words = Array.from({ length: 10_000 }, (_, i) => `word ${i} `).join('');
  const client = await SidecarClient.start({
    environment: { SCRIPTED_ANSWER: words, SCRIPTED_DELAY_MS: '1' },
  });
  const source = new CancellationTokenSource();
  const answer = client.connection.sendRequest<ChatResult>(
    'gemma/chat',
    { requestId: 'r', turns: [{ role: 'user', text: 'go' }], useRepository: false },
    source.token,
  );
  await client.until(() => client.deltas.length > 20);
  source.cancel();
  const result = await answer;
  assert.equal(result.stopReason, 'cancelled');
  assert.ok(result.generatedTokens < words.length);
  assert.ok(result.text.startsWith('word 0 word 1'));
  // The next question is answered as if nothing had happened.
  const status = await client.connection.sendRequest<Status>('gemma/status', null);
  assert.equal(status.state, 'ready');
  client.child.kill('SIGKILL');
});

test('a question longer than the context is refused with numbers', async () => {
  const client = await SidecarClient.start({ initializationOptions: { contextLength: 1024 } });
  await assert.rejects(chat(client, 'word '.repeat(2000)), (error: ResponseError<void>) => {
    assert.equal(error.code, ErrorCode.ContextFull);
    assert.match(error.message, /^The question takes 10,0\d\d tokens, but .* leaves room for 768\. Shorten/);
    return true;
  });
  assert.equal((await chat(client, 'hello')).stopReason, 'end');
  assert.equal(await client.stop(), 0);
});

test('earlier turns that do not fit are dropped with a note', async () => {
  const client = await SidecarClient.start({ initializationOptions: { contextLength: 1024 } });
  const turns = Array.from({ length: 9 }, (_, i) => ({
    role: i % 2 === 0 ? 'user' : 'model',
    text: `${i} ${'x'.repeat(200)}`,
  }));
  const result = await chat(client, '', { turns });
  assert.ok(result.promptTokens <= 768);
  assert.match(result.notes.join(), /^The first 6 messages of this conversation no longer fit/);
  assert.equal(await client.stop(), 0);
});

test('an empty and an unreadable workspace give a sentence', async () => {
  const empty = temporaryFolder();
  const missing = path.join(empty, 'gone');
  const binary = temporaryFolder();
  writeFileSync(path.join(binary, 'a.png'), Buffer.alloc(10));
  for (const [folder, sentence] of [
    [empty, /has no files\. Open a folder/],
    [missing, /cannot be read: it does not exist/],
    [binary, /has no text files to read: all 1 files/],
  ] as const) {
    const client = await SidecarClient.start({ folders: [folder] });
    await assert.rejects(chat(client, 'hello', { useRepository: true }), (error: ResponseError<void>) => {
      assert.equal(error.code, ErrorCode.Workspace);
      assert.match(error.message, sentence);
      return true;
    });
    assert.equal(await client.stop(), 0);
  }
});

test('a closed folder among readable ones is not fatal', async (t) => {
  if (process.getuid?.() === 0) return t.skip('root reads everything');
  const folder = temporaryFolder();
  mkdirSync(path.join(folder, 'closed'));
  writeFileSync(path.join(folder, 'a.ts'), 'a');
  chmodSync(path.join(folder, 'closed'), 0);
  const client = await SidecarClient.start({ folders: [folder] });
  const result = await chat(client, 'hello', { useRepository: true });
  assert.equal(result.files.length, 1);
  assert.equal(await client.stop(), 0);
});

test('in Restricted Mode the workspace is not read', async () => {
  const folder = temporaryFolder();
  writeFileSync(path.join(folder, 'a.ts'), 'let secret = 1;');
  const client = await SidecarClient.start({
    folders: [folder],
    initializationOptions: { workspaceTrusted: false },
  });
  const result = await chat(client, 'hello', { useRepository: true });
  assert.deepEqual(result.files, []);
  assert.equal(await client.stop(), 0);
});

test('parameters of any shape are refused, and the server goes on', async () => {
  const client = await SidecarClient.start();
  const turn = { role: 'user', text: 'x' };
  const bad: unknown[] = [
    null,
    [],
    {},
    { requestId: 1, turns: [turn] },
    { requestId: 'r', turns: [] },
    { requestId: 'r', turns: [{ role: 'system', text: 'x' }] },
    { requestId: 'r', turns: [turn, { role: 'model', text: 'x' }] },
    { requestId: 'r', turns: [{ role: 'user', text: '  ' }] },
    { requestId: 'r', turns: [{ role: 'user', text: 5 }] },
    { requestId: 'r', turns: [turn], attachments: 'x' },
    { requestId: 'r', turns: [{ ...turn, attachments: [{ kind: 'file' }] }] },
    {
      requestId: 'r',
      turns: [
        turn,
        { role: 'model', text: 'x', attachments: [{ kind: 'file', path: 'a', text: 'x' }] },
        turn,
      ],
    },
    {
      requestId: 'r',
      turns: [turn],
      attachments: [{ kind: 'selection', path: 'a', text: 'x', startLine: null }],
    },
    { requestId: 'x'.repeat(1000), turns: [turn] },
  ];
  for (const params of bad) {
    await assert.rejects(
      client.connection.sendRequest('gemma/chat', params),
      (error: ResponseError<void>) => {
        assert.equal(error.code, -32602, `${JSON.stringify(params)}: ${error.message}`);
        return true;
      },
    );
  }
  await assert.rejects(client.connection.sendRequest('gemma/selectModel', { path: 7 }));
  assert.equal((await chat(client, 'hello')).stopReason, 'end');
  assert.equal(await client.stop(), 0);
});

test('the process ends when its input does', async () => {
  const client = await SidecarClient.start();
  const exited = new Promise((resolve) => client.child.once('exit', resolve));
  client.child.stdin?.end();
  await exited;
});

test('ghost text by the standard method', async () => {
  const client = await SidecarClient.start({ environment: { SCRIPTED_ANSWER: ' a + b;\n}\n\nmore' } });
  await client.until(() => client.statuses.some((s) => s.state === 'ready'));
  const uri = 'file:///x/a.ts';
  const text = 'function add(a, b) {\n  return';
  await client.connection.sendNotification('textDocument/didOpen', {
    textDocument: { uri, languageId: 'typescript', version: 1, text },
  });
  const items = await client.connection.sendRequest('textDocument/inlineCompletion', {
    textDocument: { uri },
    position: { line: 1, character: 8 },
    context: { triggerKind: 1 },
  });
  assert.deepEqual(items, [
    { insertText: ' a + b;', range: { start: { line: 1, character: 8 }, end: { line: 1, character: 8 } } },
  ]);
  assert.equal(await client.stop(), 0);
});
