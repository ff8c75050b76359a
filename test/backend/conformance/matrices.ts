/** Matrix products and embeddings of every tensor type against the oracle. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ActivationPrecision, Backend } from '../../../sidecar/engine/backend/backend.ts';
import {
  rowBytes,
  TENSOR_TYPES,
  type TensorType,
  type WeightSource,
} from '../../../sidecar/engine/backend/tensor.ts';
import { quantizeRow } from '../../../sidecar/engine/model/quants.ts';
import { createOracleBackend } from '../../support/oracle-backend.ts';
import { cases, type Subject } from './subjects.ts';
import { assertClose, Dice, download, type Scenario, upload } from './world.ts';

const TYPES = Object.keys(TENSOR_TYPES) as TensorType[];

/** A random matrix, encoded. */
export function randomMatrix(dice: Dice, type: TensorType, rows: number, columns: number): WeightSource {
  const data = new Uint8Array(rows * rowBytes(type, columns));
  quantizeRow(type, dice.floats(rows * columns), data);
  return { name: `${type} ${rows}x${columns}`, type, rows, columns, data };
}

/** Activations that int8 blocks of 32 hold exactly: whole multiples of a power of two, the largest of them 127. */
function exactInInt8(dice: Dice, length: number): Float32Array {
  const values = new Float32Array(length);
  for (let start = 0; start < length; start += 32) {
    const step = 2 ** dice.between(-12, 3);
    for (let i = start; i < start + 32; i++) values[i] = dice.between(-127, 127) * step;
    values[start + dice.between(0, 31)] = dice.pick([-127, 127]) * step;
  }
  return values;
}

interface Product {
  readonly weights: readonly WeightSource[];
  readonly x: Float32Array;
  readonly columns: number;
  readonly tokens: number;
  readonly firstToken: number;
}

function randomProduct(dice: Dice, type: TensorType, activations: (length: number) => Float32Array): Product {
  const columns = TENSOR_TYPES[type].blockSize * dice.between(1, type.endsWith('_K') ? 2 : 9);
  const width = columns % 32 === 0 ? columns : columns * 32;
  const firstToken = dice.pick([0, 0, 3]);
  const tokens = dice.pick([1, 2, 3, 5, 8, 9, 31, 130]);
  const heights = Array.from({ length: dice.between(1, 3) }, () => dice.pick([1, 15, 16, 17, 48, 100]));
  return {
    weights: heights.map((rows) => randomMatrix(dice, type, rows, width)),
    x: activations((firstToken + tokens) * width),
    columns: width,
    tokens,
    firstToken,
  };
}

function productScenario({ weights, x, columns, tokens, firstToken }: Product): Scenario {
  return async (backend) => {
    const loaded = await Promise.all(weights.map((source) => backend.loadMatrix(source)));
    const targets = loaded.map((weight) => ({ weight, out: backend.createActivation(tokens, weight.rows) }));
    const pass = backend.createPass();
    pass.matmul(upload(backend, x, columns), targets, tokens, firstToken);
    await pass.submit();
    const outputs = targets.map(({ out }) => download(backend, out));
    return Float32Array.from(outputs.flatMap((values) => [...values]));
  };
}

function embedScenario(dice: Dice, type: TensorType): Scenario {
  const columns = TENSOR_TYPES[type].blockSize === 1 ? 64 : 256;
  const rows = dice.pick([1, 16, 40]);
  const table = randomMatrix(dice, type, rows, columns);
  const ids = Array.from({ length: dice.between(1, 20) }, () => dice.between(0, rows - 1));
  return async (backend) => {
    const out = backend.createActivation(ids.length, columns);
    const pass = backend.createPass();
    pass.embed(out, await backend.loadMatrix(table), ids, 1.5);
    await pass.submit();
    return download(backend, out);
  };
}

export function matrixTests(subject: Subject): void {
  for (const precision of ['f32', 'bf16', 'int8'] as const satisfies ActivationPrecision[]) {
    describe(`${precision} activations`, () => {
      let backend: Backend;
      let oracle: Backend;
      before(() => {
        backend = subject.create({ precision, threads: 2 });
        oracle = createOracleBackend();
      });
      after(() => {
        backend.dispose();
        oracle.dispose();
      });

      for (const type of TYPES) {
        // What int8 holds exactly BF16 does too. Int8 must lose nothing where there is nothing to lose: that checks the kernels to F32 accuracy.
        const exact = precision === 'f32' ? 'any activations' : 'activations that int8 holds exactly';
        test(`${type} matmul equals the oracle within 3e-6 for ${exact}`, async () => {
          for (let seed = 0; seed < cases(5); seed++) {
            const dice = new Dice(seed);
            const activations = (length: number) =>
              precision === 'f32' ? dice.floats(length) : exactInInt8(dice, length);
            const scenario = productScenario(randomProduct(dice, type, activations));
            assertClose(await scenario(backend), await scenario(oracle), 3e-6);
          }
        });

        test(`${type} embed equals the oracle within 1e-6`, async () => {
          for (let seed = 0; seed < cases(3); seed++) {
            const scenario = embedScenario(new Dice(seed), type);
            assertClose(await scenario(backend), await scenario(oracle), 1e-6);
          }
        });
      }
    });
  }

  test('int8 activations cost at most 1 % on Gaussian input', async () => {
    const backend = subject.create({ precision: 'int8', threads: 2 });
    const exact = createOracleBackend();
    try {
      const dice = new Dice(7);
      const product: Product = {
        weights: [randomMatrix(dice, 'Q4_0', 64, 1024)],
        x: dice.floats(8 * 1024),
        columns: 1024,
        tokens: 8,
        firstToken: 0,
      };
      const actual = await productScenario(product)(backend);
      const expected = await productScenario(product)(exact);
      const norm = (values: Float32Array) => Math.hypot(...values);
      const error = norm(actual.map((value, i) => value - expected[i]!)) / norm(expected);
      assert.ok(error < 0.01, `relative error ${error}`);
      assert.ok(error > 1e-4, `relative error ${error}: activations were not rounded`);
    } finally {
      backend.dispose();
      exact.dispose();
    }
  });
}
