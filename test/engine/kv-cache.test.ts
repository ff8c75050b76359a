/** Pages, kept states and the memory plan, on the CPU backend's arenas. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { OutOfMemory } from '../../sidecar/engine/backend/backend.ts';
import { selectBackend } from '../../sidecar/engine/backend/select.ts';
import { KvCache, KvFull } from '../../sidecar/engine/kv/kv-cache.ts';
import type { KvSequence } from '../../sidecar/engine/kv/kv-sequence.ts';
import { type KvLayout, pageBytes, ringPages, windowPages } from '../../sidecar/engine/kv/layout.ts';
import { kvMemory, planFirstThatFits, planMemory } from '../../sidecar/engine/kv/memory-plan.ts';
import { kvLayouts } from '../../sidecar/engine/load-engine.ts';

const LAYOUT: KvLayout = {
  shapes: { local: { layers: 2, kvHeads: 1, headDim: 16 }, global: { layers: 1, kvHeads: 1, headDim: 16 } },
  window: 128,
  chunk: 256,
};
const PAGES = { local: ringPages(LAYOUT) + 3 * windowPages(LAYOUT), global: 40 };

const backend = selectBackend({ kind: 'cpu', threads: 1 });
after(() => backend.dispose());

describe('kept states', () => {
  test('serve any length whose window they still hold, and no other', () => {
    const cache = new KvCache(backend, LAYOUT, PAGES);
    const prompt = ids(1000);
    const sequence = cache.begin(prompt, 999);
    read(sequence, prompt.subarray(0, 500));
    cache.keep(sequence, 'lasting');
    read(sequence, prompt.subarray(500));
    cache.keep(sequence, 'lasting');
    sequence.release();
    const cachedFor = (most: number, other: Uint32Array = prompt) => {
      const next = cache.begin(other, most);
      const { length } = next;
      next.release();
      return length;
    };
    assert.equal(cachedFor(1000), 1000);
    assert.equal(cachedFor(999), 999);
    // Between the two windows only the earlier state helps.
    assert.equal(cachedFor(800), 500);
    assert.equal(cachedFor(1000, Uint32Array.of(...prompt.subarray(0, 700), 7)), 500);
    assert.equal(cachedFor(300), 0);
    assert.equal(cachedFor(1000, Uint32Array.of(9, ...prompt.subarray(1))), 0);
    cache.dispose();
  });

  test('share pages with the running sequence, and copy a page only when it is written', () => {
    const cache = new KvCache(backend, LAYOUT, PAGES);
    const prompt = ids(100);
    const first = cache.begin(prompt, 99);
    read(first, prompt);
    const alone = cache.memory().used;
    cache.keep(first, 'lasting');
    assert.equal(cache.memory().used, alone);
    const second = cache.begin(ids(120), 119);
    assert.equal(second.length, 100);
    assert.equal(cache.memory().used, alone);
    const before = [...first.runs.global.pages];
    second.prepare(1);
    assert.ok(cache.memory().used > alone);
    assert.deepEqual([...first.runs.global.pages], before);
    first.release();
    second.release();
    cache.clear();
    cache.dispose();
  });

  test('every page comes back', () => {
    const cache = new KvCache(backend, LAYOUT, PAGES);
    for (let round = 0; round < 30; round++) {
      const prompt = Uint32Array.from({ length: 50 + 67 * (round % 13) }, (_, i) =>
        i < 40 ? i : i * (round % 3),
      );
      const sequence = cache.begin(prompt, prompt.length - 1);
      read(sequence, prompt.subarray(sequence.length));
      cache.keep(sequence, round % 2 === 0 ? 'lasting' : 'passing');
      sequence.release();
    }
    cache.clear();
    assert.equal(cache.memory().used, 0);
    cache.dispose();
  });

  test('a long pass of which little is committed leaves the pages before it in their places', () => {
    const cache = new KvCache(backend, LAYOUT, PAGES);
    const sequence = cache.begin(Uint32Array.of(1), 0);
    read(
      sequence,
      Uint32Array.from({ length: 250 }, (_, i) => i),
    );
    // A draft of ten tokens goes on into the next page; only one of them proves right.
    sequence.prepare(10);
    sequence.commit([1]);
    const { pageTable } = sequence.prepare(1).global;
    assert.deepEqual([...pageTable.subarray(0, 4)], [...sequence.runs.global.pages.slice(0, 4)]);
    assert.equal(new Set(pageTable).size, pageTable.length);
    sequence.release();
    cache.dispose();
  });

  test('passing states make room first, then those used longest ago', () => {
    const cache = new KvCache(backend, LAYOUT, { ...PAGES, global: 12 });
    const prompts = [1, 2, 3].map((salt) => Uint32Array.from({ length: 256 }, (_, i) => i * 3 + salt));
    for (const [i, prompt] of prompts.entries()) {
      const sequence = cache.begin(prompt, 255);
      read(sequence, prompt);
      cache.keep(sequence, i === 1 ? 'passing' : 'lasting');
      sequence.release();
    }
    const fourth = cache.begin(ids(256), 255);
    read(fourth, ids(256));
    fourth.release();
    assert.deepEqual(
      prompts.map((prompt) => {
        const sequence = cache.begin(prompt, 255);
        const { length } = sequence;
        sequence.release();
        return length;
      }),
      [255, 0, 255],
    );
    cache.dispose();
  });

  test('running sequences are never evicted: the next one is refused', () => {
    const cache = new KvCache(backend, LAYOUT, { ...PAGES, global: 4 });
    const first = cache.begin(ids(256), 255);
    read(first, ids(256));
    const second = cache.begin(Uint32Array.of(9), 0);
    assert.throws(() => second.prepare(1), KvFull);
    first.release();
    second.prepare(1);
    second.release();
    cache.dispose();
  });
});

describe('compressed pages', () => {
  const cold = { format: 'int8', hotPages: 6, exactPages: 0 } as const;
  const layout: KvLayout = { ...LAYOUT, cold };
  /** The first four pages stay F16. */
  const mixed: KvLayout = { ...LAYOUT, cold: { ...cold, exactPages: 4 } };

  test('hold what lies behind the hot pages, which are let go', () => {
    const cache = new KvCache(backend, layout, { ...PAGES, cold: 40 });
    const sequence = cache.begin(ids(2000), 1999);
    read(sequence, ids(2000));
    const { global, cold: behind } = sequence.runs;
    // The last pass began at 1984, on page 31: its tokens read pages from 26 on as F16.
    assert.equal(global.first, 26);
    assert.equal(behind?.end, 26);
    sequence.release();
    assert.equal(cache.memory().used, 0);
    cache.dispose();
  });

  test('lie between the first pages and the hot ones, where the first stay F16', () => {
    const cache = new KvCache(backend, mixed, { ...PAGES, cold: 40 });
    const sequence = cache.begin(ids(2000), 1999);
    const spans = () => {
      const { exact, cold: behind, global } = sequence.runs;
      return [exact, behind, global].map((run) => run && [run.first, run.first + run.pages.length]);
    };
    read(sequence, ids(200));
    assert.deepEqual(spans(), [
      [0, 4],
      [4, 4],
      [4, 4],
    ]);
    read(sequence, ids(440));
    // Ten pages: whoever comes reads the first four and the last six as F16.
    assert.deepEqual(spans(), [
      [0, 4],
      [4, 4],
      [4, 10],
    ]);
    assert.equal(sequence.prepare(1).global.cold?.pageTable.length, 5);
    read(sequence, ids(1360));
    assert.deepEqual(spans(), [
      [0, 4],
      [4, 26],
      [26, 32],
    ]);
    const { pageTable, cold: view } = sequence.prepare(1).global;
    const { exact, cold: behind, global } = sequence.runs;
    assert.deepEqual([...pageTable.subarray(0, 4)], [...exact.pages]);
    assert.deepEqual([...(view?.pageTable.subarray(4) ?? [])], [...(behind?.pages ?? [])]);
    assert.deepEqual([...pageTable.subarray(26, 32)], [...global.pages.slice(26 - global.first)]);
    sequence.release();
    assert.equal(cache.memory().used, 0);
    cache.dispose();
  });

  test('are told by kind, and windows that only kept states hold', () => {
    const cache = new KvCache(backend, mixed, { ...PAGES, cold: 40 });
    const sequence = cache.begin(ids(1000), 999);
    read(sequence, ids(1000));
    const pages = () => {
      const bytes = { f16: LAYOUT.shapes.global, int8: LAYOUT.shapes.global, local: LAYOUT.shapes.local };
      return cache.memory().parts.map(({ kind, bytes: used }) => {
        const shape = kind === 'f16' || kind === 'int8' ? bytes[kind] : bytes.local;
        return [kind, used / pageBytes(shape, kind === 'int8' ? 'int8' : 'f16')];
      });
    };
    // Pages 0 to 3 and 10 to 15 as F16, 4 to 9 as codes, and the window.
    const running = pages();
    assert.deepEqual(running.slice(0, 2), [
      ['f16', 10],
      ['int8', 6],
    ]);
    assert.deepEqual(running[3], ['kept', 0]);
    cache.keep(sequence, 'lasting');
    assert.deepEqual(pages(), running);
    sequence.release();
    const [, , local, kept] = pages();
    assert.deepEqual(
      [local, kept],
      [
        ['local', 0],
        ['kept', 3],
      ],
    );
    const { used, parts } = cache.memory();
    assert.equal(
      used,
      parts.reduce((sum, { bytes }) => sum + bytes, 0),
    );
    cache.dispose();
  });

  test('a kept state resumes only where its hot pages reach back far enough', () => {
    const cache = new KvCache(backend, layout, { ...PAGES, cold: 40 });
    const prompt = ids(1000);
    const sequence = cache.begin(prompt, 999);
    read(sequence, prompt);
    cache.keep(sequence, 'lasting');
    sequence.release();
    const cachedFor = (most: number) => {
      const next = cache.begin(prompt, most);
      const { length } = next;
      const pages = Array.from({ length: 3 }, () => next.prepare(64)).length + next.runs.global.first;
      next.release();
      return { length, pages };
    };
    // Page 10 is the first that token 999, on page 15, reads as F16; so does every token from 960 on.
    assert.deepEqual(cachedFor(999), { length: 999, pages: 3 + 10 });
    assert.deepEqual(cachedFor(960), { length: 960, pages: 3 + 10 });
    assert.deepEqual(cachedFor(959).length, 0);
    cache.clear();
    assert.equal(cache.memory().used, 0);
    cache.dispose();
  });

  for (const shape of [layout, mixed])
    test(`every page comes back, also when branches share them, with ${shape.cold?.exactPages} exact pages`, () => {
      const cache = new KvCache(backend, shape, { local: 60, global: 60, cold: 24 });
      for (let round = 0; round < 40; round++) {
        const prompt = Uint32Array.from({ length: 500 + 97 * (round % 11) }, (_, i) =>
          i < 450 + 64 * (round % 5) ? i : i * (round % 3),
        );
        const sequence = cache.begin(prompt, prompt.length - 1);
        // A draft that is rolled back.
        sequence.prepare(70);
        read(sequence, prompt.subarray(sequence.length));
        cache.keep(sequence, round % 2 === 0 ? 'lasting' : 'passing');
        sequence.release();
      }
      cache.clear();
      assert.equal(cache.memory().used, 0);
      cache.dispose();
    });

  test('refuses exact pages where tokens choose among pages, and too few hot pages for the longest pass', () => {
    const choosing = { ...mixed, sparse: { topPages: 4, recentPages: 6 } };
    assert.throws(() => new KvCache(backend, choosing, { ...PAGES, cold: 40 }), RangeError);
    const few = { ...layout, cold: { ...cold, hotPages: 4 } };
    assert.throws(() => new KvCache(backend, few, { ...PAGES, cold: 40 }), RangeError);
  });

  test('pages have the bytes that the plan counts with', () => {
    for (const headDim of [16, 64, 80, 256]) {
      for (const format of ['f16', 'int8', 'int4'] as const) {
        const shape = { layers: 3, kvHeads: 2, headDim };
        const arena = backend.createKvArena(shape, 1, { format });
        assert.equal(pageBytes(shape, format), arena.pageBytes, `${format}, ${headDim}`);
        arena.dispose();
      }
    }
  });
});

describe('memory plan', () => {
  const layout4B: KvLayout = {
    shapes: {
      local: { layers: 29, kvHeads: 4, headDim: 256 },
      global: { layers: 5, kvHeads: 4, headDim: 256 },
    },
    window: 1024,
    chunk: 256,
  };
  const GIB = 2 ** 30;
  const request = {
    layout: layout4B,
    weightBytes: 2.4 * GIB,
    scratchBytes: 0.1 * GIB,
    trainedContext: 131_072,
    contextLength: undefined,
  };

  test('the first format with which the whole context fits is taken, and told', () => {
    const cold = (format: 'int8' | 'int4', exactPages = 0): KvLayout => ({
      ...layout4B,
      cold: { format, hotPages: 8, exactPages },
    });
    const layouts = [layout4B, cold('int8', 1024), cold('int8'), cold('int4')];
    const planned = (available: number, contextLength?: number) =>
      planFirstThatFits(layouts, { ...request, contextLength, available });
    const whole = (layout: KvLayout) => 2.75 * GIB + kvMemory(layout, 131_072).total;
    const exact = planned(whole(layout4B));
    assert.deepEqual([exact.layout, exact.contextLength, exact.note], [layout4B, 131_072, null]);
    const half = planned(whole(layout4B) - 1);
    assert.deepEqual([half.layout.cold, half.contextLength], [cold('int8', 1024).cold, 131_072]);
    assert.match(half.note ?? '', /behind the first 65536 tokens and before the last 512 as int8/);
    const int8 = planned(whole(cold('int8', 1024)) - 1);
    assert.deepEqual([int8.layout.cold?.format, int8.contextLength], ['int8', 131_072]);
    assert.match(int8.note ?? '', /more than 512 tokens behind as int8/);
    const int4 = planned(whole(cold('int8')) - 1, 131_072);
    assert.deepEqual([int4.layout.cold?.format, int4.contextLength], ['int4', 131_072]);
    const lowered = planned(whole(cold('int4')) - 1);
    assert.equal(lowered.layout.cold?.format, 'int4');
    assert.match(lowered.note ?? '', /as int4.* Lowered the context to \d+ tokens/);
    assert.throws(
      () => planned(whole(cold('int4')) - 1, 131_072),
      /\d GiB for a context of 131072.*up to \d+ tokens fits/,
    );
  });

  for (const [name, globals, locals, kvHeads, headDim, gib] of [
    ['4B', 5, 29, 4, 256, 2.5],
    ['12B', 8, 40, 8, 256, 8],
    ['27B', 10, 52, 16, 128, 10],
  ] as const) {
    test(`${name} at 131,072 tokens: the exact beginning gets shorter with the memory, until the context is refused`, () => {
      const layers = [
        ...Array.from({ length: locals }, () => 'local' as const),
        ...Array.from({ length: globals }, () => 'global' as const),
      ];
      const shape = { layers, kvHeads, headDim, window: 1024 };
      const layouts = kvLayouts(shape, 131_072, { kvFormat: 'auto' });
      const totals = layouts.map((layout) => kvMemory(layout, 131_072).total);
      assert.equal(kvMemory(layouts[0]!, 131_072).global, gib * GIB);
      assert.ok(totals[0]! < 1.2 * gib * GIB, `${totals[0]! / GIB} GiB`);
      const fixed = request.weightBytes + request.scratchBytes + 0.25 * GIB;
      const chosen = totals.map((total) =>
        planFirstThatFits(layouts, { ...request, contextLength: 131_072, available: fixed + total }),
      );
      assert.deepEqual(
        chosen.map(({ layout }) => [layout.cold?.format ?? 'f16', layout.cold?.exactPages ?? 0]),
        [
          ['f16', 0],
          ['int8', 1536],
          ['int8', 1024],
          ['int8', 512],
          ['int8', 0],
          ['int4', 512],
          ['int4', 0],
        ],
      );
      const tooLittle = { ...request, contextLength: 131_072, available: fixed + totals.at(-1)! - 1 };
      assert.throws(() => planFirstThatFits(layouts, tooLittle), /a context of 131072 tokens/);
      const choosing = kvLayouts(shape, 131_072, { kvFormat: 'auto', sparsePositions: 512 });
      assert.deepEqual(
        choosing.map(({ cold }) => cold?.exactPages),
        [undefined, 0, 0],
      );
    });
  }

  test('ranges of keys count where tokens choose among pages', () => {
    const sparse = { topPages: 64, recentPages: 8 };
    const shape = layout4B.shapes.global;
    const grown = kvMemory({ ...layout4B, sparse }, 131_072).global - kvMemory(layout4B, 131_072).global;
    assert.equal(grown, 2048 * 20 * 1088);
    assert.ok(grown < 0.017 * 2048 * pageBytes(shape));
  });

  test('4B at 131,072 tokens takes at most 2.9 GiB', () => {
    const { global, local, total } = kvMemory(layout4B, 131_072);
    assert.equal(global, 2.5 * GIB);
    assert.ok(total <= 2.9 * GIB, `${total / GIB} GiB`);
    assert.equal(local + global, total);
  });

  test('int8 behind takes 0.55, int4 0.32 of the global memory at 131,072 tokens', () => {
    const exact = kvMemory(layout4B, 131_072).global;
    const share = (format: 'int8' | 'int4') =>
      kvMemory({ ...layout4B, cold: { format, hotPages: 8, exactPages: 0 } }, 131_072).global / exact;
    assert.ok(share('int8') < 0.55, `${share('int8')}`);
    assert.ok(share('int4') < 0.33, `${share('int4')}`);
  });

  test('the whole context where it fits', () => {
    const plan = planMemory({ ...request, available: 8 * GIB });
    assert.equal(plan.contextLength, 131_072);
    assert.equal(plan.note, null);
  });

  test('what only makes it faster where the context does not pay for it', () => {
    const extra = (available: number) => planMemory({ ...request, extraBytes: GIB, available }).extra;
    assert.equal(extra(8 * GIB), true);
    // The whole context fits, but not both.
    assert.equal(extra(6 * GIB), false);
    assert.equal(planMemory({ ...request, extraBytes: GIB, available: 6 * GIB }).contextLength, 131_072);
    assert.equal(extra(4 * GIB), false);
    assert.equal(planMemory({ ...request, available: 8 * GIB }).extra, false);
  });

  test('lowered with a word where it does not', () => {
    const plan = planMemory({ ...request, available: 4 * GIB });
    assert.ok(plan.contextLength < 131_072 && plan.contextLength > 8192, `${plan.contextLength}`);
    assert.match(plan.note ?? '', /Lowered the context to \d+ tokens: the model needs 2\.40 GiB for weights/);
  });

  test('refused with numbers where the chosen context or any does not fit', () => {
    assert.throws(
      () => planMemory({ ...request, contextLength: 131_072, available: 4 * GIB }),
      (error) =>
        error instanceof OutOfMemory &&
        /only 4\.00 GiB is free\. A context of up to \d+ tokens fits/.test(error.message),
    );
    assert.throws(() => planMemory({ ...request, available: 1 * GIB }), OutOfMemory);
  });

  test('with room for an image tower; where there is none, for text, and a note says so', () => {
    const towerBytes = 1 * GIB;
    const text = planMemory({ ...request, available: 5 * GIB }).contextLength;
    const both = planMemory({ ...request, towerBytes, available: 5 * GIB }).contextLength;
    assert.ok(both < text && both >= 512, `${both} of ${text}`);
    const contextLength = text - 512;
    const chosen = planMemory({ ...request, towerBytes, contextLength, available: 5 * GIB });
    assert.equal(chosen.contextLength, contextLength);
    assert.match(chosen.note ?? '', /Images cannot be read.*needs 1\.00 GiB, and 5\.00 GiB is free/);
    assert.equal(planMemory({ ...request, towerBytes, available: 9 * GIB }).note, null);
  });
});

function ids(length: number): Uint32Array {
  return Uint32Array.from({ length }, (_, i) => i);
}

/** As the scheduler reads: in chunks that end at page boundaries. */
function read(sequence: KvSequence, tokens: Uint32Array): void {
  for (let done = 0; done < tokens.length; ) {
    const aligned = 64 - (sequence.length % 64);
    const chunk = tokens.subarray(done, done + aligned);
    sequence.prepare(chunk.length);
    sequence.commit(chunk);
    done += chunk.length;
  }
}
