/** Reading ahead beside a question, with the real engine on a tiny model. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { type Choice, NO_CHOICE } from '../../sidecar/context/choice.ts';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import { loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { ChatSession, type ChatSink } from '../../sidecar/session/chat-session.ts';
import { ImageLibrary } from '../../sidecar/session/image-library.ts';
import { ModelHost } from '../../sidecar/session/model-host.ts';
import { type AheadProgress, ReadAhead } from '../../sidecar/session/read-ahead.ts';
import { temporaryFolder } from '../support/repository.ts';
import { scriptedEngine } from '../support/scripted-engine.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

const SINK: ChatSink = { progress: () => {}, delta: () => {} };
const failed = (error: unknown) => assert.fail(String(error));
const never = new AbortController().signal;
const lines = Array.from({ length: 80 }, (_, i) => `export const name${i} = ${i};\n`).join('');

test('a question interrupts it within a chunk and finds what was read; the rest is read after it', async () => {
  const modelPath = path.join(temporaryFolder(), 'nano.gguf');
  writeTinyModel(modelPath);
  const host = new ModelHost((options) => loadGemmaEngine({ ...options, threads: 1, contextLength: 8192 }));
  await host.select(modelPath, {});
  const engine = await host.engine();
  const session = new ChatSession(host, new ImageLibrary(host));
  const repository = new RepositoryContext([
    { folder: temporaryFolder({ 'a.ts': lines, 'b.ts': lines }), label: null },
  ]);
  const steps: AheadProgress[] = [];
  let asked: ReturnType<ChatSession['ask']> | null = null;
  const ahead = new ReadAhead(
    host,
    ({ onProgress, ...request }) =>
      session.readAhead(
        { repository },
        {
          ...request,
          onProgress: (progress) => {
            steps.push(progress);
            onProgress(progress);
            if (progress.done < 512 || asked !== null) return;
            asked = session.ask(question, SINK, never);
            void asked.then(() => {
              answered = true;
            });
          },
        },
      ),
    failed,
  );
  const question = { turns: [{ role: 'user' as const, text: 'Where is `name7`?' }], repository };
  let answered = false;
  // It goes on once the question is answered, also where that has read all there is.
  const ended = new Promise<void>((resolve) => {
    ahead.onChange(() => {
      if (ahead.progress === null && answered) resolve();
    });
  });
  ahead.start();
  await ended;
  const answer = await asked!;
  const first = steps.findIndex(({ done }) => done >= 512);
  assert.ok(answer.cachedTokens >= steps[first]!.done, 'what was read is not read again');
  assert.ok(answer.cachedTokens < steps[first]!.total, 'it did not wait for the end');
  const again = await session.ask({ ...question, turns: [{ role: 'user', text: 'Why?' }] }, SINK, never);
  assert.ok(again.promptTokens - again.cachedTokens < 120, `${again.cachedTokens} cached`);
  await engine.dispose();
});

test('a model is disposed of only when what runs aside has ended, and the next one is read for too', async () => {
  const order: string[] = [];
  const host = new ModelHost(async ({ modelPath }) =>
    Object.assign(scriptedEngine({}), {
      dispose: async () => {
        order.push(`${modelPath} gone`);
      },
    }),
  );
  const ahead = new ReadAhead(
    host,
    async ({ signal }) => {
      order.push('begins');
      if (order.length > 1) return;
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      order.push('ends');
    },
    failed,
  );
  await host.select('one', {});
  const begun = new Promise<void>((resolve) => {
    const look = () => (order.includes('begins') ? resolve() : setTimeout(look, 20));
    look();
  });
  ahead.start();
  await begun;
  assert.equal(host.busy, false);
  await host.select('two', {});
  while (order.filter((step) => step === 'begins').length < 2)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(order, ['begins', 'ends', 'one gone', 'begins']);
});

test('where not everything fits, pinned files are read, and what a draft would begin with', async () => {
  const modelPath = path.join(temporaryFolder(), 'nano.gguf');
  writeTinyModel(modelPath);
  const host = new ModelHost((options) => loadGemmaEngine({ ...options, threads: 1, contextLength: 2048 }));
  await host.select(modelPath, {});
  const engine = await host.engine();
  const session = new ChatSession(host, new ImageLibrary(host));
  const repository = new RepositoryContext([
    {
      folder: temporaryFolder({
        'a.ts': lines,
        'b.ts': lines.replaceAll('name', 'other'),
        'c.ts': lines.replaceAll('name', 'third'),
        'pinned.ts': 'export const pin = 1;\n'.repeat(20),
      }),
      label: null,
    },
  ]);
  const reading: AheadProgress[] = [];
  const readAhead = (choice: Choice) =>
    session.readAhead(
      { repository, choice },
      { engine, signal: never, onProgress: (progress) => reading.push(progress) },
    );
  const question = { turns: [{ role: 'user' as const, text: 'Where is `other7` defined?' }], repository };
  const toRead = async (choice: Choice) => (await session.preview({ ...question, choice }, never)).toRead;

  await readAhead(NO_CHOICE);
  assert.equal(reading.length, 0, 'nothing is known of what will be asked');
  const choice = { pinned: ['pinned.ts'], dropped: [] };
  const before = await toRead(choice);
  await readAhead(choice);
  const pinned = reading.at(-1)!;
  assert.ok(pinned.total > 200, `${pinned.total} tokens of pinned files are read`);
  assert.ok(
    Math.abs((await toRead(choice)) - (before - pinned.total)) < 64,
    'of which the question makes use',
  );

  session.drafted(question);
  await readAhead(choice);
  assert.ok((await toRead(choice)) < 120, `${await toRead(choice)} to read`);
  const answer = await session.ask({ ...question, choice }, SINK, never);
  assert.ok(answer.promptTokens - answer.cachedTokens < 120);
  assert.ok(answer.tokenUse.repository > 1000);
  await engine.dispose();
});
