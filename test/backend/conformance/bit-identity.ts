/**
 * One token's result has the same bits however the work is arranged: many tokens in a pass or one, any
 * chunking of the prompt, any number of threads, any place of its pages in the arena.
 */
import { test } from 'node:test';
import { type Backend, PAGE_POSITIONS } from '../../../sidecar/engine/backend/backend.ts';
import { type AttentionShape, attentionCase, attentionScenario, cut, imageCase } from './attention.ts';
import { randomMatrix } from './matrices.ts';
import { cases, type Subject } from './subjects.ts';
import { assertSameBits, Dice, download, float32Bytes, pagesFor, sequence, upload } from './world.ts';

async function onBackend<T>(
  subject: Subject,
  threads: number,
  run: (backend: Backend) => Promise<T>,
): Promise<T> {
  const backend = subject.create({ precision: 'int8', threads });
  try {
    return await run(backend);
  } finally {
    backend.dispose();
  }
}

const HEADS = 4;
const HEAD_DIM = 64;
const KV_HEADS = 2;
const POSITIONS = 300;
const WIDTH = 256;

/** Most of a transformer layer on `POSITIONS` tokens, cut into the given chunks; returns every token's output. */
function layer(dice: Dice, window: number | null) {
  const weights = {
    q: randomMatrix(dice, 'Q4_0', HEADS * HEAD_DIM, WIDTH),
    k: randomMatrix(dice, 'Q4_0', KV_HEADS * HEAD_DIM, WIDTH),
    v: randomMatrix(dice, 'Q6_K', KV_HEADS * HEAD_DIM, WIDTH),
    gate: randomMatrix(dice, 'Q8_0', 512, WIDTH),
    up: randomMatrix(dice, 'F16', 512, WIDTH),
    down: randomMatrix(dice, 'Q4_0', WIDTH, 512),
  };
  const norm = dice.floats(WIDTH);
  const x = dice.floats(POSITIONS * WIDTH);
  const pageTable = dice.permutation(pagesFor(POSITIONS));

  return async (backend: Backend, chunks: readonly number[]): Promise<Float32Array> => {
    const load = (name: keyof typeof weights) => backend.loadMatrix(weights[name]);
    const [wq, wk, wv] = [await load('q'), await load('k'), await load('v')];
    const [wGate, wUp, wDown] = [await load('gate'), await load('up'), await load('down')];
    const data = float32Bytes(norm);
    const scale = await backend.loadVector({ name: 'norm', type: 'F32', rows: 1, columns: WIDTH, data });
    const kv = sequence(backend, { layers: 1, kvHeads: KV_HEADS, headDim: HEAD_DIM }, pageTable);
    const outputs = new Float32Array(x.length);
    let position = 0;
    for (const tokens of chunks) {
      const input = upload(backend, x.slice(position * WIDTH, (position + tokens) * WIDTH), WIDTH);
      const create = (width: number) => backend.createActivation(tokens, width);
      const [normed, attended, down] = [create(WIDTH), create(WIDTH), create(WIDTH)];
      const [q, k, v] = [create(HEADS * HEAD_DIM), create(KV_HEADS * HEAD_DIM), create(KV_HEADS * HEAD_DIM)];
      const [gate, up] = [create(512), create(512)];
      const pass = backend.createPass();
      pass.rmsNorm(normed, input, scale, tokens, 1e-6);
      const projections = [
        { weight: wq, out: q },
        { weight: wk, out: k },
        { weight: wv, out: v },
      ];
      pass.matmul(normed, projections, tokens);
      pass.rope(q, tokens, HEADS, HEAD_DIM, position, 1e6, 8);
      pass.rope(k, tokens, KV_HEADS, HEAD_DIM, position, 1e6, 8);
      pass.kvWrite(kv, 0, k, v, position, tokens);
      const options = { layer: 0, position, tokens, heads: HEADS, window, scale: 0.02 };
      pass.attention(attended, q, kv, options);
      pass.add(attended, input, tokens);
      const feedForward = [
        { weight: wGate, out: gate },
        { weight: wUp, out: up },
      ];
      pass.matmul(attended, feedForward, tokens);
      pass.geluMul(gate, gate, up, tokens);
      pass.matmul(gate, [{ weight: wDown, out: down }], tokens);
      await pass.submit();
      outputs.set(download(backend, down), position * WIDTH);
      for (const activation of [input, normed, attended, down, q, k, v, gate, up]) activation.dispose();
      position += tokens;
    }
    return outputs;
  };
}

export function bitIdentityTests(subject: Subject): void {
  test('a layer gives a token the same bits for any chunking and thread count', async () => {
    for (const window of [null, 100]) {
      const dice = new Dice(11);
      const run = layer(dice, window);
      const whole = await onBackend(subject, 1, (backend) => run(backend, [POSITIONS]));
      for (let variant = 0; variant < cases(3); variant++) {
        const chunks = variant === 0 ? new Array<number>(POSITIONS).fill(1) : cut(dice, POSITIONS, 150);
        const threads = 1 + (variant % 3);
        const pieces = await onBackend(subject, threads, (backend) => run(backend, chunks));
        assertSameBits(
          pieces,
          whole,
          `window ${window}, ${threads} threads, chunks ${chunks.slice(0, 9)}...`,
        );
      }
    }
  });

  // 600 positions are three of the kernel's splits; the chunks reach its whole-prompt, split and decode paths.
  test('attention gives a token the same bits in prefill, in small chunks and in decode', async () => {
    for (let seed = 0; seed < cases(8); seed++) {
      const dice = new Dice(seed);
      const shape: AttentionShape = {
        kvHeads: dice.pick([1, 2]),
        group: dice.pick([1, 2, 4, 80]),
        headDim: dice.pick([16, 64, 128, 256]),
        window: dice.pick([null, null, 33, 300]),
        positions: dice.between(520, 600),
        longestChunk: 600,
      };
      const whole = attentionCase(dice, shape, [shape.positions]);
      const reference = await onBackend(subject, 1, attentionScenario(whole));
      const lastOnes = [shape.positions - 12, 9, 1, 1, 1];
      for (const chunks of [cut(dice, shape.positions, 8), cut(dice, shape.positions, 100), lastOnes]) {
        const pieces = { ...whole, chunks, pageTable: dice.permutation(whole.pageTable.length) };
        const actual = await onBackend(subject, dice.between(1, 3), attentionScenario(pieces));
        assertSameBits(actual, reference, `seed ${seed}, chunks ${chunks.slice(0, 9)}...`);
      }
    }
  });

  test('attention around images gives a token the same bits however the text is cut', async () => {
    for (let seed = 0; seed < cases(4); seed++) {
      const dice = new Dice(seed);
      const pieces = imageCase(dice, {
        kvHeads: 1,
        group: dice.pick([1, 4]),
        headDim: dice.pick([16, 64]),
        window: dice.pick([null, 90]),
      });
      const whole = { ...pieces, chunks: [pieces.positions] };
      const expected = await onBackend(subject, 1, attentionScenario(whole));
      const actual = await onBackend(subject, dice.between(2, 3), attentionScenario(pieces));
      assertSameBits(actual, expected, `seed ${seed}, chunks ${pieces.chunks.slice(0, 9)}...`);
    }
  });

  test('a window gives the same bits in a ring and in a table that never wraps', async () => {
    const dice = new Dice(21);
    const shape: AttentionShape = {
      kvHeads: 1,
      group: 4,
      headDim: 64,
      window: 90,
      positions: 500,
      longestChunk: 40,
    };
    const ring = attentionCase(dice, shape, cut(dice, 500, 40));
    const flat = { ...ring, chunks: [500], pageTable: dice.permutation(Math.ceil(500 / PAGE_POSITIONS)) };
    const [a, b] = [
      await onBackend(subject, 2, attentionScenario(ring)),
      await onBackend(subject, 2, attentionScenario(flat)),
    ];
    assertSameBits(a, b, 'ring against flat');
  });

  // In one pass the engine may join a layer's two products, GELU and rounding; alone in a pass, whose products could be
  // read afterwards, it may not.
  test('layers give the same bits in one pass and in a pass for each operation', async () => {
    for (const [gateType, upType] of [
      ['Q4_0', 'Q4_0'],
      ['Q6_K', 'Q8_0'],
      ['Q5_1', 'Q4_K'],
      ['Q4_0', 'F16'],
    ] as const) {
      const dice = new Dice(31);
      const [width, hidden] = [256, 768];
      const weights = {
        gate: randomMatrix(dice, gateType, hidden, width),
        up: randomMatrix(dice, upType, hidden, width),
        down: randomMatrix(dice, 'Q4_0', width, hidden),
      };
      const norm = float32Bytes(dice.floats(width));
      const x = dice.floats(150 * width);
      // With `cut` as in the model: the last layer has fewer rows, and nobody reads the products afterwards.
      const run = (rows: number, eachAlone: boolean, threads: number, cut: boolean) =>
        onBackend(subject, threads, async (backend) => {
          const gate = await backend.loadMatrix(weights.gate);
          const up = await backend.loadMatrix(weights.up);
          const down = await backend.loadMatrix(weights.down);
          const scale = await backend.loadVector({
            name: 'norm',
            type: 'F32',
            rows: 1,
            columns: width,
            data: norm,
          });
          const stream = upload(backend, x.slice(0, rows * width), width);
          const [normed, added] = [0, 1].map(() => backend.createActivation(rows, width));
          const [gated, raised] = [0, 1].map(() => backend.createActivation(rows, hidden));
          let pass = backend.createPass();
          const next = async () => {
            if (!eachAlone) return;
            await pass.submit();
            pass = backend.createPass();
          };
          for (let layer = 0; layer < 3; layer++) {
            const tokens = cut && layer === 2 ? Math.ceil(rows / 2) : rows;
            pass.rmsNorm(normed!, stream, scale, tokens, 1e-6);
            await next();
            const targets = [
              { weight: gate, out: gated! },
              { weight: up, out: raised! },
            ];
            pass.matmul(normed!, targets, tokens);
            await next();
            pass.geluMul(gated!, gated!, raised!, tokens);
            await next();
            pass.matmul(gated!, [{ weight: down, out: added! }], tokens);
            await next();
            pass.add(stream, added!, tokens);
            await next();
          }
          if (cut && !eachAlone) for (const each of [gated!, raised!]) pass.discard(each);
          if (!eachAlone) await pass.submit();
          const read = cut ? [stream] : [stream, gated!, raised!];
          return Float32Array.from(read.flatMap((activation) => [...download(backend, activation)]));
        });
      for (const tokens of [1, 3, 8, 150]) {
        for (const cut of [false, true]) {
          const alone = await run(tokens, true, 1, cut);
          for (const threads of [1, 3]) {
            const joined = await run(tokens, false, threads, cut);
            assertSameBits(joined, alone, `${gateType}, ${upType}, ${tokens} tokens, ${threads} threads`);
          }
        }
      }
    }
  });
}
