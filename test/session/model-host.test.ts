import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from '../../sidecar/engine/engine.ts';
import { ModelHost, NoModelError } from '../../sidecar/session/model-host.ts';
import { scriptedEngine } from '../support/scripted-engine.ts';

test('questions wait for a model that is being loaded', async () => {
  let finish: (engine: Engine) => void = () => {};
  const host = new ModelHost(() => new Promise((resolve) => (finish = resolve)));
  const selected = host.select('m', {});
  assert.equal(host.state.kind, 'loading');
  const waiting = host.engine();
  await new Promise((resolve) => setImmediate(resolve));
  const engine = scriptedEngine();
  finish(engine);
  assert.equal(await waiting, engine);
  await selected;
  assert.equal(host.state.kind, 'ready');
});

test('a file that does not load is reported, and another can be chosen', async () => {
  const host = new ModelHost(async ({ modelPath }) => {
    if (modelPath === 'bad') throw new Error('bad is not Gemma 3.');
    return scriptedEngine();
  });
  await host.select('bad', {});
  assert.equal(host.state.kind, 'failed');
  await assert.rejects(host.engine(), /bad is not Gemma 3/);
  await host.select('good', {});
  assert.equal(host.state.kind, 'ready');
});

test('a model overtaken while it loads is disposed, never shown', async () => {
  const disposed: string[] = [];
  const finish = new Map<string, () => void>();
  const host = new ModelHost(async ({ modelPath }) => {
    await new Promise<void>((resolve) => finish.set(modelPath, resolve));
    return {
      ...scriptedEngine({}, { modelPath }),
      dispose: async () => {
        disposed.push(modelPath);
      },
    };
  });
  const tick = () => new Promise((resolve) => setImmediate(resolve));
  const first = host.select('one', {});
  await tick();
  const second = host.select('two', {});
  await tick();
  finish.get('two')!();
  await second;
  finish.get('one')!();
  await first;
  assert.deepEqual(disposed, ['one']);
  assert.equal((await host.engine()).model.path, 'two');
});

test('without a model the reason is the error', async () => {
  const host = new ModelHost(() => Promise.reject(new Error('unused')));
  host.setNone('There is no model here.');
  await assert.rejects(
    host.engine(),
    (e) => e instanceof NoModelError && e.message === 'There is no model here.',
  );
});

test('choosing another model stops what uses the first, and only then disposes of it', async () => {
  const log: string[] = [];
  const host = new ModelHost(async ({ modelPath }) => ({
    ...scriptedEngine({}, { modelPath }),
    dispose: async () => {
      log.push(`dispose ${modelPath}`);
    },
  }));
  await host.select('one', {});
  const used = host.use(new AbortController().signal, async (_engine, signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await new Promise((resolve) => setImmediate(resolve));
    log.push('stopped');
  });
  while (!host.busy) await new Promise((resolve) => setImmediate(resolve));
  await host.select('two', {});
  await used;
  assert.deepEqual(log, ['stopped', 'dispose one']);
});

test('whoever waits for a model can stop waiting', async () => {
  const host = new ModelHost(() => new Promise(() => {}));
  void host.select('slow', {});
  const abort = new AbortController();
  const waiting = host.use(abort.signal, async () => {});
  abort.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
});
