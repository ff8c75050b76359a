/**
 * Matrix products of the CPU backend, for every tensor type on every instruction set that runs here: values
 * against float64 arithmetic on what the file stores, and bit-identity of a token's result.
 */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import {
  type CpuBackend,
  cpuInstructionSets,
  createCpuBackend,
} from '../../sidecar/engine/backend/cpu/cpu-backend.ts';
import {
  rowBytes,
  TENSOR_TYPES,
  type TensorType,
  type WeightSource,
} from '../../sidecar/engine/backend/tensor.ts';
import { bfloatToFloat, floatToBfloat } from '../../sidecar/engine/model/half.ts';
import { dequantizeRow } from '../../sidecar/engine/model/quants.ts';
import { int8Scale } from '../support/oracle-math.ts';
import { seededRandom } from '../support/random.ts';

const TYPES = Object.keys(TENSOR_TYPES) as TensorType[];
const ISAS = cpuInstructionSets();
const FLOAT_TYPES: readonly TensorType[] = ['F32', 'F16', 'BF16'];

/** Seeded integers in [0, 2^32). */
function generator(seed: number): () => number {
  const random = seededRandom(seed);
  return () => Math.floor(random() * 2 ** 32);
}

function uniform(count: number, seed: number): Float32Array {
  const next = generator(seed);
  return Float32Array.from({ length: count }, () => next() / 2 ** 31 - 1);
}

/** Where a block of each type keeps its F16 factors; every other byte may be anything. */
const HALVES: Partial<Record<TensorType, readonly number[]>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
};

/** Random file bytes: every code, sub-scale and minimum occurs; only the F16 factors are kept moderate. */
function randomWeight(
  name: string,
  type: TensorType,
  rows: number,
  columns: number,
  seed: number,
): WeightSource {
  const data = new Uint8Array(rows * rowBytes(type, columns));
  const view = new DataView(data.buffer);
  const next = generator(seed);
  if (type === 'F32') {
    for (let i = 0; i < data.length; i += 4) view.setFloat32(i, next() / 2 ** 31 - 1, true);
  } else if (type === 'F16' || type === 'BF16') {
    // Random sign and mantissa, exponents around one; F16 denormals among them.
    for (let i = 0; i < data.length; i += 2) {
      const exponent = type === 'BF16' ? 120 + (next() % 8) : next() % 16;
      const fraction = type === 'BF16' ? 7 : 10;
      view.setUint16(
        i,
        ((next() & 1) << 15) | (exponent << fraction) | (next() & ((1 << fraction) - 1)),
        true,
      );
    }
  } else {
    for (let i = 0; i < data.length; i++) data[i] = next() & 255;
    const { blockBytes } = TENSOR_TYPES[type];
    for (let block = 0; block < data.length; block += blockBytes) {
      for (const at of HALVES[type]!) {
        view.setUint16(block + at, ((next() & 1) << 15) | ((8 + (next() % 4)) << 10) | (next() & 1023), true);
      }
    }
  }
  return { name, type, rows, columns, data };
}

function valuesOf({ type, rows, columns, data }: WeightSource): Float32Array {
  const out = new Float32Array(rows * columns);
  dequantizeRow(type, data as Uint8Array, out);
  return out;
}

/** Activations as the int8 path reads them: scale * q for each block of 32, in double. */
function roundedActivations(x: Float32Array): Float64Array {
  const out = new Float64Array(x.length);
  for (let block = 0; block < x.length; block += 32) {
    const scale = int8Scale(x.subarray(block, block + 32));
    const inverse = scale > 0 ? Math.fround(1 / scale) : 0;
    for (let i = block; i < block + 32; i++) {
      // Adding 1.5 * 2^52 rounds a double to an integer, ties to even.
      const rounded = Math.fround(x[i]! * inverse) + 1.5 * 2 ** 52 - 1.5 * 2 ** 52;
      out[i] = scale * rounded;
    }
  }
  return out;
}

function roundedToBf16(x: Float32Array): Float32Array {
  return x.map((value) => bfloatToFloat(floatToBfloat(value)));
}

/** Largest |got - expected| over the sum of |w x| that the result is made of. */
function relativeError(
  got: Float32Array,
  weights: Float32Array,
  x: ArrayLike<number>,
  rows: number,
  columns: number,
): number {
  let worst = 0;
  for (let t = 0; t < got.length / rows; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      let magnitude = 0;
      for (let k = 0; k < columns; k++) {
        const product = weights[r * columns + k]! * x[t * columns + k]!;
        sum += product;
        magnitude += Math.abs(product);
      }
      worst = Math.max(worst, Math.abs(got[t * rows + r]! - sum) / (magnitude || 1));
    }
  }
  return worst;
}

async function product(
  backend: CpuBackend,
  weights: readonly WeightSource[],
  x: Float32Array,
  tokens: number,
): Promise<Float32Array[]> {
  const columns = weights[0]!.columns;
  const from = backend.createActivation(tokens, columns);
  backend.upload(from, x.subarray(0, tokens * columns), 0);
  const targets = [];
  for (const source of weights) {
    targets.push({
      weight: await backend.loadMatrix(source),
      out: backend.createActivation(tokens, source.rows),
    });
  }
  const pass = backend.createPass();
  pass.matmul(from, targets, tokens);
  await pass.submit();
  const results = targets.map(({ out }) => {
    const values = new Float32Array(tokens * out.width);
    backend.readBack(out, values, 0, tokens);
    out.dispose();
    return values;
  });
  from.dispose();
  return results;
}

describe('matmul', () => {
  const backends: CpuBackend[] = [];
  const open = (options: Parameters<typeof createCpuBackend>[0]) => {
    const backend = createCpuBackend(options);
    backends.push(backend);
    return backend;
  };
  after(() => {
    for (const backend of backends) backend.dispose();
  });

  for (const isa of ISAS) {
    describe(isa, () => {
      for (const type of TYPES) {
        it(`${type} agrees with float64`, async () => {
          const columns = 512;
          const rows = 83; // five panels and three rows
          const weight = randomWeight('w', type, rows, columns, 7);
          const values = valuesOf(weight);
          const x = uniform(19 * columns, 3);
          for (const tokens of [1, 3, 19]) {
            const part = x.subarray(0, tokens * columns);
            const [fast] = await product(open({ isa, threads: 2 }), [weight], x, tokens);
            const exact = FLOAT_TYPES.includes(type) ? part : roundedActivations(part);
            // A chain of 512 roundings of 2^-24 each, and in practice the root of that.
            assert.ok(relativeError(fast!, values, exact, rows, columns) < 2e-6, `int8, ${tokens} tokens`);
            const [halves] = await product(open({ isa, threads: 2, precision: 'bf16' }), [weight], x, tokens);
            // Only the processor's own BF16 dot products round activations; elsewhere they are exact.
            const errors = [part, roundedToBf16(part)].map((read) =>
              relativeError(halves!, values, read, rows, columns),
            );
            assert.ok(Math.min(...errors) < 2e-6, `bf16, ${tokens} tokens: ${errors}`);
            const [precise] = await product(open({ isa, threads: 2, precision: 'f32' }), [weight], x, tokens);
            assert.ok(relativeError(precise!, values, part, rows, columns) < 2e-6, `f32, ${tokens} tokens`);
          }
        });

        it(`${type} gives a token the same bits in any batch and on any number of threads`, async () => {
          const columns = 256;
          const weight = randomWeight('w', type, 75, columns, 11);
          const x = uniform(300 * columns, 5);
          for (const precision of ['int8', 'bf16', 'f32'] as const) {
            const [all] = await product(open({ isa, threads: 1, precision }), [weight], x, 300);
            for (const threads of [1, 2, 3]) {
              const backend = open({ isa, threads, precision });
              for (const tokens of [1, 2, 3, 5, 8, 17, 64, 129, 300]) {
                const [some] = await product(backend, [weight], x, tokens);
                assert.deepEqual(some, all!.subarray(0, some!.length), `${precision}, ${tokens} tokens`);
              }
            }
          }
        });
      }

      it('several targets over one input equal single products', async () => {
        const backend = open({ isa, threads: 2 });
        const types: TensorType[] = ['Q4_0', 'F16', 'Q6_K'];
        const weights = types.map((type, i) => randomWeight(type, type, 16 * i + 9, 256, 20 + i));
        const x = uniform(9 * 256, 8);
        const together = await product(backend, weights, x, 9);
        for (const [i, weight] of weights.entries()) {
          assert.deepEqual(together[i], (await product(backend, [weight], x, 9))[0]);
        }
      });
    });
  }

  it('int8 products have the same bits on every instruction set', async () => {
    for (const type of TYPES) {
      const weight = randomWeight('w', type, 40, 512, 31);
      const x = uniform(21 * 512, 9);
      const [reference] = await product(open({ isa: 'scalar', threads: 1 }), [weight], x, 21);
      for (const isa of ISAS) {
        assert.deepEqual(
          (await product(open({ isa, threads: 1 }), [weight], x, 21))[0],
          reference,
          `${type} ${isa}`,
        );
      }
    }
  });

  it('a block of tokens with any scales has the bits of each token alone, on every instruction set', async () => {
    const [tokens, columns, rows] = [70, 256, 40];
    const small = [0, 1e-44, 1e-30, 3e-22, 1e-10, 1e15];
    const all = [...small, 1e31, 3e38, Number.POSITIVE_INFINITY, Number.NaN];
    for (const type of TYPES) {
      const weight = randomWeight('w', type, rows, columns, 61);
      const { blockBytes, blockSize } = TENSOR_TYPES[type];
      // Scales of zero, and one that is not finite, among the last panel's rows.
      const view = new DataView((weight.data as Uint8Array).buffer);
      for (const at of HALVES[type] ?? []) {
        for (let row = 32; row < rows; row++) {
          view.setUint16(row * rowBytes(type, columns) + at, row === rows - 1 ? 0x7c00 : 0, true);
        }
        view.setUint16(blockBytes * (columns / blockSize) + at, 0, true);
      }
      const x = uniform(tokens * columns, 19);
      for (let block = 0; block < x.length; block += 32) {
        const [token, tile] = [Math.floor(block / columns), (block % columns) / 32];
        const factors = tile < 4 ? small : all;
        const factor = token % 3 === 0 ? 1 : factors[(token + tile) % factors.length]!;
        for (let i = block; i < block + 32; i++) x[i]! *= factor;
      }
      const [reference] = await product(open({ isa: 'scalar', threads: 1 }), [weight], x, tokens);
      for (const isa of ISAS) {
        const backend = open({ isa, threads: 2 });
        const [block] = await product(backend, [weight], x, tokens);
        assert.deepEqual(block, reference, `${type} ${isa}`);
        for (const token of [0, 1, 2, 34, 69]) {
          const [alone] = await product(
            backend,
            [weight],
            x.slice(token * columns, (token + 1) * columns),
            1,
          );
          assert.deepEqual(
            alone,
            reference!.slice(token * rows, (token + 1) * rows),
            `${type} ${isa} ${token}`,
          );
        }
      }
    }
  });

  it('firstToken selects rows of the input', async () => {
    const backend = open({ threads: 2 });
    const weight = randomWeight('w', 'Q4_0', 32, 64, 41);
    const x = uniform(6 * 64, 10);
    const [all] = await product(backend, [weight], x, 6);
    const from = backend.createActivation(6, 64);
    const out = backend.createActivation(1, 32);
    backend.upload(from, x, 0);
    const pass = backend.createPass();
    pass.matmul(from, [{ weight: await backend.loadMatrix(weight), out }], 1, 4);
    await pass.submit();
    const row = new Float32Array(32);
    backend.readBack(out, row, 0, 1);
    assert.deepEqual(row, all!.subarray(4 * 32, 5 * 32));
  });
});

describe('embed', () => {
  for (const isa of ISAS) {
    it(`reads rows of every type exactly on ${isa}`, async () => {
      const backend = createCpuBackend({ isa, threads: 2 });
      for (const type of TYPES) {
        const table = randomWeight('table', type, 37, 256, 51);
        const values = valuesOf(table);
        const ids = [36, 0, 16, 15, 36];
        const out = backend.createActivation(ids.length, 256);
        const pass = backend.createPass();
        pass.embed(out, await backend.loadMatrix(table), ids, 2);
        await pass.submit();
        const got = new Float32Array(ids.length * 256);
        backend.readBack(out, got, 0, ids.length);
        for (const [i, id] of ids.entries()) {
          for (let k = 0; k < 256; k++) {
            const expected = 2 * values[id * 256 + k]!;
            const rounding = Math.abs(expected) * 2 ** -22 + 2 ** -22;
            assert.ok(Math.abs(got[i * 256 + k]! - expected) <= rounding, `${type} row ${id} column ${k}`);
          }
        }
      }
      backend.dispose();
    });
  }
});
