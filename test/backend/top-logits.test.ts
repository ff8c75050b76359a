/**
 * The greatest logits by way of a shadow: the same ids and bits as reading the whole matrix, on every instruction set,
 * for random rows and for rows made to deceive.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ActivationPrecision } from '../../sidecar/engine/backend/backend.ts';
import {
  type CpuBackend,
  cpuInstructionSets,
  createCpuBackend,
} from '../../sidecar/engine/backend/cpu/cpu-backend.ts';
import {
  rowBytes,
  shadowBytes,
  type TensorType,
  type WeightSource,
} from '../../sidecar/engine/backend/tensor.ts';
import { floatToHalf, HALF_TO_FLOAT } from '../../sidecar/engine/model/half.ts';
import { quantizeRow } from '../../sidecar/engine/model/quants.ts';
import { topLogits, topLogitsOfRow } from '../../sidecar/engine/sampler/top-k.ts';
import { seededRandom } from '../support/random.ts';
import { cases } from './conformance/subjects.ts';

const SHADOWED = ['F16', 'BF16', 'F32', 'Q8_0'] as const satisfies TensorType[];

interface Question {
  readonly type: TensorType;
  readonly columns: number;
  /** `[rows][columns]` */
  readonly weights: Float32Array;
  /** `[tokens][columns]` */
  readonly x: Float32Array;
  readonly count: number;
  readonly also: readonly number[];
  /** Rows of `x` in front that are not asked about. */
  readonly skipped?: number;
}

interface Answer {
  readonly ids: number[];
  readonly values: number[];
}

for (const isa of cpuInstructionSets()) {
  for (const precision of ['int8', 'bf16', 'f32'] as const satisfies ActivationPrecision[]) {
    describe(`top logits on ${isa}, ${precision} activations`, () => {
      it('are those of the whole matrix, for random rows of every type', async () => {
        for (let seed = 0; seed < cases(6); seed++) {
          for (const type of [...SHADOWED, 'Q4_0'] as const)
            await compare(isa, precision, randomQuestion(type, seed));
        }
      });

      it('are those of the whole matrix among near ties and equal rows', async () => {
        for (let seed = 0; seed < cases(4); seed++) {
          for (const type of SHADOWED) await compare(isa, precision, nearTies(type, seed));
        }
      });

      it('are those of the whole matrix where rows differ by nine orders of magnitude, or are zero', async () => {
        for (let seed = 0; seed < cases(4); seed++) {
          for (const type of SHADOWED) await compare(isa, precision, unevenRows(type, seed));
        }
      });

      it('are found where a shadow is as far off as its bound allows', async () => {
        for (let seed = 0; seed < cases(8); seed++) await compare(isa, precision, worstShadow(seed));
      });

      it('name the first value that is no finite number', async () => {
        for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
          const question = randomQuestion('F16', 1);
          question.weights[37 * question.columns + 5] = bad;
          const [answer] = await compare(isa, precision, { ...question, count: 3, also: [2] });
          assert.equal(answer!.ids[0], 37);
          assert.ok(!Number.isFinite(answer!.values[0]));
        }
      });

      it('are those of the whole matrix for activations that are zero, vast, tiny or no numbers', async () => {
        for (const value of [0, 1e30, 3e38, 1e-30, 1e-42, Number.NaN, Number.POSITIVE_INFINITY]) {
          for (const type of SHADOWED) {
            const question = { ...gaussian(type, 90, 64, 2, 2), count: 5, also: [3] };
            if (Number.isFinite(value)) for (let i = 0; i < question.x.length; i++) question.x[i]! *= value;
            else question.x[3] = value;
            await compare(isa, precision, question);
          }
        }
      });
    });
  }
}

describe('a shadow', () => {
  it('spares most of a large matrix, and takes the memory that is planned for it', async () => {
    for (const type of SHADOWED) {
      const backend = createCpuBackend({ threads: 2, shadows: true });
      try {
        const question = gaussian(type, 4096, 256, 1, 5);
        const { matrix, ask } = await prepared(backend, question);
        const before = backend.memory().weights;
        await backend.addShadow(matrix);
        const added = backend.memory().weights - before;
        assert.ok(Math.abs(added - shadowBytes(type, 4096, 256)) <= 2 * 4096, `${type}: ${added}`);
        await ask();
        const { panels, read } = backend.screening();
        assert.ok(read < panels / 4, `${type}: ${read} of ${panels}`);
      } finally {
        backend.dispose();
      }
    }
  });

  it('is left alone for a while where it spared nothing, with the same results', async () => {
    const backend = createCpuBackend({ threads: 2, shadows: true });
    try {
      const question = gaussian('F16', 4096, 256, 1, 5);
      const { matrix, x, ask } = await prepared(backend, question);
      const expected = await ask();
      await backend.addShadow(matrix);
      const shareRead = async () => {
        const before = backend.screening();
        assert.deepEqual(await ask(), expected);
        const { panels, read } = backend.screening();
        return (read - before.read) / (panels - before.panels);
      };
      assert.ok((await shareRead()) < 0.25);
      // All logits are equal, so that each may be the greatest.
      backend.upload(x, new Float32Array(256), 0);
      await ask();
      backend.upload(x, question.x, 0);
      const shares: number[] = [];
      for (let i = 0; i < 17; i++) shares.push(await shareRead());
      assert.ok(shares.slice(0, 16).every((share) => share === 1) && shares[16]! < 0.25, `${shares}`);
    } finally {
      backend.dispose();
    }
  });

  it('is not made for types that it would not pay for', () => {
    assert.equal(shadowBytes('Q4_0', 4096, 256), 0);
    assert.equal(shadowBytes('F16', 4096, 255), 0);
  });

  it('does not change what a request out of range is told', async () => {
    const backend = createCpuBackend({ threads: 1 });
    try {
      const { matrix, x, out } = await prepared(backend, gaussian('F16', 48, 64, 2, 1));
      const request = (count: number, also: readonly number[], tokens: number) => () =>
        backend.createPass().topLogits(x, matrix, out, { count, also }, tokens);
      assert.throws(request(0, [], 1), /count/);
      assert.throws(request(1, [48], 1), /id 0/);
      assert.throws(request(out.width / 2, [1], 1), /count/);
      assert.throws(request(1, [], 3), /tokens/);
    } finally {
      backend.dispose();
    }
  });
});

/** Asks with and without the shadow, with one and with two threads, and compares with the whole product. */
async function compare(isa: string, precision: ActivationPrecision, question: Question): Promise<Answer[]> {
  let last: Answer[] = [];
  for (const threads of [1, 2]) {
    const backend = createCpuBackend({ isa, precision, threads, shadows: true });
    try {
      const { matrix, ask, whole } = await prepared(backend, question);
      const expected = expectedAnswers(await whole(), question);
      assert.deepEqual(await ask(), expected);
      await backend.addShadow(matrix);
      last = await ask();
      assert.deepEqual(last, expected);
    } finally {
      backend.dispose();
    }
  }
  return last;
}

async function prepared(
  backend: CpuBackend,
  { type, columns, weights, x, count, also, skipped = 0 }: Question,
) {
  const rows = weights.length / columns;
  const tokens = x.length / columns - skipped;
  const data = new Uint8Array(rows * rowBytes(type, columns));
  encode(type, weights, data);
  const source: WeightSource = { name: 'head', type, rows, columns, data };
  const matrix = await backend.loadMatrix(source);
  const input = backend.createActivation(skipped + tokens, columns);
  backend.upload(input, x, 0);
  const slots = count + also.length + 3;
  const out = backend.createActivation(tokens, 2 * slots);
  const logits = backend.createActivation(tokens, rows);
  const ask = async (): Promise<Answer[]> => {
    const pass = backend.createPass();
    pass.topLogits(input, matrix, out, { count, also }, tokens, skipped);
    await pass.submit();
    return Array.from({ length: tokens }, (_, token) => {
      const row = new Float32Array(2 * slots);
      backend.readBack(out, row, token, 1);
      const { ids, values } = topLogitsOfRow(row, { count, also });
      return { ids: [...ids], values: [...values] };
    });
  };
  const whole = async () => {
    const pass = backend.createPass();
    pass.matmul(input, [{ weight: matrix, out: logits }], tokens, skipped);
    await pass.submit();
    const all = new Float32Array(tokens * rows);
    backend.readBack(logits, all, 0, tokens);
    return all;
  };
  return { matrix, x: input, out, ask, whole };
}

function encode(type: TensorType, values: Float32Array, data: Uint8Array): void {
  if (type !== 'F16') {
    quantizeRow(type, values, data);
    return;
  }
  const view = new DataView(data.buffer);
  for (const [i, value] of values.entries()) view.setUint16(2 * i, floatToHalf(value), true);
}

function expectedAnswers(all: Float32Array, { columns, weights, count, also }: Question): Answer[] {
  const rows = weights.length / columns;
  return Array.from({ length: all.length / rows }, (_, token) => {
    const logits = all.subarray(token * rows, (token + 1) * rows);
    const odd = [...logits.keys()].filter((id) => !Number.isFinite(logits[id]));
    const finite = logits.map((value) => (Number.isFinite(value) ? value : Number.NEGATIVE_INFINITY));
    const best = [...topLogits(finite, rows).ids].filter((id) => Number.isFinite(logits[id]));
    const ids = [...[...odd, ...best].slice(0, count), ...also];
    return { ids, values: ids.map((id) => logits[id]!) };
  });
}

function gaussian(type: TensorType, rows: number, columns: number, tokens: number, seed: number): Question {
  const random = seededRandom(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return {
    type,
    columns,
    weights: Float32Array.from({ length: rows * columns }, () => 0.05 * normal()),
    x: Float32Array.from({ length: tokens * columns }, () => 3 * normal()),
    count: 1,
    also: [],
  };
}

function randomQuestion(type: TensorType, seed: number): Question {
  const random = seededRandom(seed + 100);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  const rows = pick([40, 96, 700, 1031]);
  const skipped = pick([0, 2]);
  const question = gaussian(type, rows, pick([32, 64, 160]), skipped + pick([1, 2, 3, 5, 16]), seed);
  const also = Array.from({ length: pick([0, 3]) }, () => Math.floor(random() * rows));
  return { ...question, skipped, count: pick([1, 1, 2, 40, 64, rows + 5]), also };
}

/** Rows that differ from one another in the last place of a weight or not at all. */
function nearTies(type: TensorType, seed: number): Question {
  const question = gaussian(type, 512, 96, 2, seed);
  const { weights, columns } = question;
  const random = seededRandom(seed);
  for (let row = 1; row < 512; row++) {
    weights.copyWithin(row * columns, 0, columns);
    const column = row * columns + Math.floor(random() * columns);
    if (row % 3 > 0) weights[column]! *= 1 + 2 ** -10 * (row % 5);
  }
  return { ...question, count: [1, 2, 17, 64][seed % 4]! };
}

/** Some rows vast, some zero, some with one value that drowns the others in a block. */
function unevenRows(type: TensorType, seed: number): Question {
  const question = gaussian(type, 640, 128, 2, seed);
  const { weights, columns, x } = question;
  const random = seededRandom(seed);
  for (let row = 0; row < 640; row++) {
    const values = weights.subarray(row * columns, (row + 1) * columns);
    if (row % 4 === 0) values[Math.floor(random() * columns)] = 60_000 * (random() - 0.5);
    if (row % 4 === 1) values.fill(0);
    if (row % 4 === 2) for (let i = 0; i < columns; i++) values[i]! *= 10 ** (9 * random() - 6);
  }
  for (let i = 0; i < x.length; i += 29) x[i]! *= 1000;
  // So that logits of zero rows are among the greatest.
  if (seed % 2 === 1) for (let i = 0; i < columns; i++) if (weights[i]! * x[i]! > 0) weights[i]! *= -1;
  return { ...question, count: [1, 8, 64, 3][seed % 4]! };
}

/**
 * The activation is the very difference between row 200 and its shadow (recomputed here as screen.cc packs it), so that
 * Cauchy's inequality holds with equality: the row seems to be worth as much less than it is as the bound allows. Other
 * rows are their own shadows, with values between what row 200 seems to be and is.
 */
function worstShadow(seed: number): Question {
  const columns = 256;
  const question = gaussian('F16', 400, columns, 1, seed);
  const { weights, x } = question;
  const row = weights.subarray(200 * columns, 201 * columns);
  for (const [i, value] of row.entries()) row[i] = HALF_TO_FLOAT[floatToHalf(value)]!;
  for (let start = 0; start < columns; start += 32) {
    const block = row.subarray(start, start + 32);
    const largest = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = HALF_TO_FLOAT[floatToHalf(largest / 31)]!;
    for (const [i, value] of block.entries()) {
      const code = Math.max(-31, Math.min(31, Math.round(value / scale)));
      x[start + i] = value - scale * code;
    }
  }
  let product = 0;
  let square = 0;
  for (const [i, value] of row.entries()) {
    product += value * x[i]!;
    square += x[i]! * x[i]!;
  }
  // Rows with one code of 31 in each block are exact in six bits: shares of a row along the sign of x.
  for (let other = 0; other < 400; other++) {
    if (other === 200) continue;
    const values = weights.subarray(other * columns, (other + 1) * columns);
    values.fill(0);
    const wanted = product - square * (0.02 + (0.96 * ((other * 7919) % 400)) / 400);
    const places = Array.from(
      { length: columns / 32 },
      (_, block) => 32 * block + ((other + 5 * block) % 32),
    );
    const reach = places.reduce((sum, place) => sum + Math.abs(x[place]!), 0);
    for (const place of places) values[place] = (Math.sign(x[place]!) * wanted) / reach;
  }
  return question;
}
