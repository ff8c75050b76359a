/** What an engine read is there again in the next process: same tokens, nothing read twice, and said why if it is. */
import assert from 'node:assert/strict';
import { EventEmitter, once as eventOf } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { GenerateEvent, GenerateOptions } from '../../sidecar/engine/engine.ts';
import type { GemmaEngine } from '../../sidecar/engine/gemma-engine.ts';
import { NODE_FILES, type StoreFile, type StoreFiles } from '../../sidecar/engine/kv/store/files.ts';
import { SEGMENT_HEADER_BYTES } from '../../sidecar/engine/kv/store/segment.ts';
import { type GemmaEngineOptions, loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { type Run, run, withEngine as withEngineOf } from '../support/engine-run.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'restart-'));
const modelPath = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(modelPath, { branchScale: 0.5 }));
after(() => rmSync(folder, { recursive: true }));

const PROMPT = ids(500, 1);

describe('after a restart', () => {
  test('the same prompt reads the rest of its last block, and answers alike', async () => {
    const store = fresh('same');
    const first = await once(store, PROMPT);
    assert.deepEqual([first.end.cachedTokens, first.end.miss?.reason], [0, 'new']);
    const second = await once(store, PROMPT);
    assert.deepEqual([second.end.cachedTokens, second.end.diskTokens], [448, 448]);
    assert.deepEqual(second.end.miss, { reason: 'part-of-block', position: 448 });
    assert.deepEqual(second.ids, first.ids);
  });

  test('a prompt branches at any block boundary, with the tokens it would have without a cache', async () => {
    const store = fresh('branch');
    await once(store, PROMPT);
    for (const at of [64, 100, 191, 192, 320, 447]) {
      const branch = [...PROMPT.slice(0, at), ...ids(90, at)];
      const changed = branch[at] === PROMPT[at] ? at + 1 : at;
      const restored = await once(store, branch);
      assert.equal(restored.end.diskTokens, 64 * Math.floor(changed / 64), `branch at ${at}`);
      assert.deepEqual(restored.end.miss?.differs, {
        position: changed,
        before: PROMPT[changed],
        now: branch[changed],
      });
      assert.deepEqual(restored.ids, (await once(null, branch)).ids, `branch at ${at}`);
    }
  });

  test('with int8 pages behind, prompts resume and branch with the tokens they would have without a cache', async () => {
    const store = fresh('int8');
    const kvFormat = { kvFormat: 'int8' } as const;
    const long = ids(1500, 8);
    const without = (prompt: readonly number[]) => once(null, prompt, {}, undefined, kvFormat);
    const expected = await without(long);
    assert.deepEqual((await once(store, long, {}, undefined, kvFormat)).ids, expected.ids);
    const again = await once(store, long, {}, undefined, kvFormat);
    assert.deepEqual(again.ids, expected.ids);
    assert.equal(again.end.diskTokens, 1472);
    await withEngine({ store: optionsFor(store), ...kvFormat }, async (engine) => {
      for (const at of [1300, 200, 700]) {
        const branch = [...long.slice(0, at), ...ids(90, at)];
        const restored = await run(engine, branch, { maxTokens: 12 });
        assert.ok(restored.end.cachedTokens >= 64 * Math.floor(at / 64), `branch at ${at}`);
        assert.deepEqual(restored.ids, (await without(branch)).ids, `branch at ${at}`);
      }
    });
    // The first eight blocks read nothing rounded: they serve whatever the format. What comes behind is something else.
    const exact = await once(store, long);
    assert.equal(exact.end.diskTokens, 512);
    assert.deepEqual(exact.ids, (await once(null, long)).ids);
  });

  test('where the first pages stay F16, prompts resume and branch with the tokens they would have without a cache', async () => {
    const store = fresh('mixed');
    const mixed = { kvFormat: 'int4', exactPages: 6 } as const;
    const long = ids(1500, 8);
    const without = (prompt: readonly number[], options: Partial<GemmaEngineOptions> = mixed) =>
      once(null, prompt, {}, undefined, options);
    const expected = await without(long);
    assert.deepEqual((await without(long, { ...mixed, chunk: 64, threads: 2 })).ids, expected.ids);
    assert.deepEqual((await once(store, long, {}, undefined, mixed)).ids, expected.ids);
    const again = await once(store, long, {}, undefined, mixed);
    assert.deepEqual([again.ids, again.end.diskTokens], [expected.ids, 1472]);
    await withEngine({ store: optionsFor(store), ...mixed }, async (engine) => {
      for (const at of [1300, 200, 400, 700]) {
        const branch = [...long.slice(0, at), ...ids(90, at)];
        const restored = await run(engine, branch, { maxTokens: 12 });
        assert.ok(restored.end.cachedTokens >= 64 * Math.floor(at / 64), `branch at ${at}`);
        assert.deepEqual(restored.ids, (await without(branch)).ids, `branch at ${at}`);
      }
    });
    // Up to where the first token reads a rounded page, all is as if there were none.
    const short = long.slice(0, 64 * 14 - 20);
    assert.deepEqual((await without(short)).ids, (await without(short, {})).ids);
    const others = [
      [{}, 14],
      [{ kvFormat: 'int4', exactPages: 7 }, 15],
    ] as const;
    for (const [options, blocks] of others) {
      const other = await once(store, long, {}, undefined, options);
      assert.equal(other.end.diskTokens, 64 * blocks);
      assert.deepEqual(other.ids, (await without(long, options)).ids);
    }
  });

  test('a cancelled prompt goes on where it was stopped', async () => {
    const store = fresh('cancelled');
    const long = ids(1500, 9);
    const stop = new AbortController();
    const cancelled = await once(store, long, { signal: stop.signal }, (event) => {
      if (event.kind === 'prefill' && event.done >= 512) stop.abort();
    });
    assert.equal(cancelled.end.reason, 'cancelled');
    assert.ok(cancelled.end.keptTokens >= 512);
    const next = await once(store, long);
    assert.equal(next.end.diskTokens, 64 * Math.floor(cancelled.end.keptTokens / 64));
    assert.deepEqual(next.ids, (await once(null, long)).ids);
  });

  test('a damaged block costs what follows it, never a wrong token', async () => {
    const store = fresh('damaged');
    const expected = await once(store, PROMPT);
    const file = segments(store, 'global')[0]!;
    const bytes = readFileSync(file);
    // The payload of the fifth block.
    bytes[4096 + Math.floor((4.5 * (bytes.length - 4096)) / Math.floor(500 / 64 + 0.1))]! ^= 1;
    writeFileSync(file, bytes);
    const restored = await once(store, PROMPT);
    assert.ok(restored.end.diskTokens < 448 && restored.end.diskTokens > 0, `${restored.end.diskTokens}`);
    assert.deepEqual(restored.ids, expected.ids);
    assert.equal((await once(store, PROMPT)).end.diskTokens, 448, 'and is written anew');
  });

  test('another model, or another precision, finds nothing', async () => {
    const store = fresh('foreign');
    await once(store, PROMPT);
    const other = path.join(folder, 'other.gguf');
    writeTinyModel(other, { branchScale: 0.5, seed: 2 });
    assert.equal((await once(store, PROMPT, {}, undefined, { modelPath: other })).end.diskTokens, 0);
    assert.equal((await once(store, PROMPT, {}, undefined, { precision: 'f32' })).end.diskTokens, 0);
    assert.equal((await once(store, PROMPT)).end.diskTokens, 448);
  });

  test('files and folders are private', {
    skip: process.platform === 'win32' && 'modes are POSIX',
  }, async () => {
    const store = fresh('modes');
    await once(store, PROMPT);
    const [file] = segments(store, 'local');
    assert.equal(statSync(file!).mode & 0o777, 0o600);
    for (const dir of [store, path.dirname(file!)]) assert.equal(statSync(dir).mode & 0o777, 0o700);
  });
});

describe('while a prompt is being restored', () => {
  test('a completion is computed', async () => {
    const store = fresh('meanwhile');
    const expected = await once(store, PROMPT);
    const completion = await once(null, ids(90, 5), { priority: 'completion' });
    const disk = new SlowDisk();
    await withEngine({ store: { ...optionsFor(store), files: disk } }, async (engine) => {
      const chat = run(engine, PROMPT, { maxTokens: 12 });
      await disk.isReading;
      const overtaking = await run(engine, ids(90, 5), { maxTokens: 12, priority: 'completion' });
      assert.deepEqual(overtaking.ids, completion.ids);
      disk.goOn();
      const restored = await chat;
      assert.equal(restored.end.diskTokens, 448);
      assert.deepEqual(restored.ids, expected.ids);
    });
  });

  test('the same prompt waits, and finds it in memory', async () => {
    const store = fresh('twice');
    const expected = await once(store, PROMPT);
    const disk = new SlowDisk();
    await withEngine({ store: { ...optionsFor(store), files: disk } }, async (engine) => {
      const first = run(engine, PROMPT, { maxTokens: 12 });
      await disk.isReading;
      const second = run(engine, PROMPT, { maxTokens: 12, priority: 'background' });
      disk.goOn();
      assert.deepEqual((await first).ids, expected.ids);
      const { ids: same, end } = await second;
      assert.deepEqual([same, end.cachedTokens, end.diskTokens], [expected.ids, 499, 0]);
    });
  });

  test('a cancel ends it at once, and gives its pages back', async () => {
    const store = fresh('cancel-restore');
    await once(store, PROMPT);
    const disk = new SlowDisk();
    await withEngine({ store: { ...optionsFor(store), files: disk } }, async (engine) => {
      const stop = new AbortController();
      const chat = run(engine, PROMPT, { maxTokens: 12, signal: stop.signal });
      await disk.isReading;
      stop.abort();
      const { end } = await chat;
      assert.deepEqual([end.reason, end.keptTokens], ['cancelled', 0]);
      disk.goOn();
      assert.equal((await run(engine, PROMPT, { maxTokens: 1 })).end.diskTokens, 448);
    });
  });

  test('the engine can be closed', async () => {
    const store = fresh('close-restore');
    await once(store, PROMPT);
    const disk = new SlowDisk();
    const engine = await loadGemmaEngine({
      modelPath,
      threads: 1,
      store: { ...optionsFor(store), files: disk },
    });
    const chat = run(engine, PROMPT, { maxTokens: 12 });
    const failed = assert.rejects(chat, /unloaded/);
    await disk.isReading;
    const closed = engine.dispose();
    disk.goOn();
    await closed;
    await failed;
  });
});

test('memory that ran short is paged out, not forgotten', async () => {
  const store = fresh('pressure');
  const prompts = Array.from({ length: 5 }, (_, i) => ids(400, 30 + i));
  await withEngine({ store: optionsFor(store), contextLength: 512 }, async (engine) => {
    const first = [];
    for (const prompt of prompts) first.push(await run(engine, prompt, { maxTokens: 4 }));
    const again = await run(engine, prompts[0]!, { maxTokens: 4 });
    assert.equal(again.end.diskTokens, 384);
    assert.deepEqual(again.ids, first[0]!.ids);
  });
});

test('completions leave nothing on disk', async () => {
  const store = fresh('completion');
  await once(store, PROMPT, { priority: 'completion' });
  assert.deepEqual(segments(store, 'global'), []);
});

/** The real disk, whose blocks come only once it may go on. */
class SlowDisk implements StoreFiles {
  readonly #events = new EventEmitter();
  readonly #gate = eventOf(this.#events, 'go on');
  readonly isReading = eventOf(this.#events, 'reading');
  readonly readdir = NODE_FILES.readdir;
  readonly stat = NODE_FILES.stat;
  readonly rename = NODE_FILES.rename;
  readonly unlink = NODE_FILES.unlink;
  readonly mkdir = NODE_FILES.mkdir;
  readonly utimes = NODE_FILES.utimes;
  readonly statfs = NODE_FILES.statfs;

  goOn(): void {
    this.#events.emit('go on');
  }

  async open(name: string, flags: string, mode?: number): Promise<StoreFile> {
    const file = await NODE_FILES.open(name, flags, mode);
    return {
      read: async (buffer, offset, length, position) => {
        // Longer than any header.
        if (length > SEGMENT_HEADER_BYTES) {
          this.#events.emit('reading');
          await this.#gate;
        }
        return file.read(buffer, offset, length, position);
      },
      write: (...args) => file.write(...args),
      datasync: () => file.datasync(),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  }
}

/** One request of a process of its own. */
function once(
  store: string | null,
  prompt: readonly number[],
  options: Partial<GenerateOptions> = {},
  onEvent?: (event: GenerateEvent) => void,
  engineOptions: Partial<GemmaEngineOptions> = {},
): Promise<Run> {
  return withEngine({ store: store === null ? null : optionsFor(store), ...engineOptions }, (engine) =>
    run(engine, prompt, { maxTokens: 12, ...options }, onEvent),
  );
}

function optionsFor(store: string) {
  return { folder: store, mostBytes: 1e9, mostAgeMs: 1e9, reserveBytes: 0 };
}

function fresh(name: string): string {
  return path.join(folder, name);
}

function segments(store: string, kind: string): string[] {
  return readdirSync(store, { recursive: true, encoding: 'utf8' })
    .filter((name) => path.basename(name).startsWith(kind) && name.endsWith('.kv'))
    .map((name) => path.join(store, name));
}

function ids(length: number, seed: number): number[] {
  const random = seededRandom(seed);
  return [
    2,
    ...Array.from({ length: length - 1 }, () => Math.floor(random() * MODEL_SHAPES.nano.vocabulary)),
  ];
}

function withEngine<T>(
  options: Partial<GemmaEngineOptions>,
  use: (engine: GemmaEngine) => Promise<T>,
): Promise<T> {
  return withEngineOf({ modelPath, threads: 1, ...options }, use);
}
