/** The image tower's operations against the oracle. */
import { test } from 'node:test';
import type { Backend } from '../../../sidecar/engine/backend/backend.ts';
import { cases, type Subject } from './subjects.ts';
import { assertClose, assertSameBits, Dice, download, float32Bytes, type Scenario, upload } from './world.ts';

const vectorOf = (backend: Backend, values: Float32Array) =>
  backend.loadVector({
    name: 'v',
    type: 'F32',
    rows: 1,
    columns: values.length,
    data: float32Bytes(values),
  });

function layerNormScenario(dice: Dice): Scenario {
  const [tokens, width] = [dice.between(1, 40), dice.pick([1, 7, 33, 128, 1152])];
  const x = dice.floats(tokens * width, 3).map((value) => value + 10);
  const [weight, bias] = [dice.floats(width), dice.floats(width)];
  return async (backend) => {
    const [source, out] = [upload(backend, x, width), backend.createActivation(tokens, width)];
    const pass = backend.createPass();
    pass.layerNorm(out, source, await vectorOf(backend, weight), await vectorOf(backend, bias), tokens, 1e-6);
    await pass.submit();
    return download(backend, out);
  };
}

function addBiasScenario(dice: Dice): Scenario {
  const [tokens, width] = [dice.between(1, 30), dice.pick([3, 17, 304, 1152])];
  const [x, bias] = [dice.floats(tokens * width, 2), dice.floats(width)];
  const then = dice.pick(['gelu', undefined] as const);
  return async (backend) => {
    const target = upload(backend, x, width);
    const pass = backend.createPass();
    pass.addBias(target, await vectorOf(backend, bias), tokens, then);
    await pass.submit();
    return download(backend, target);
  };
}

function averagePoolScenario(dice: Dice): Scenario {
  const [factor, cells, width] = [dice.between(1, 4), dice.between(1, 4), dice.pick([1, 19, 128])];
  const x = dice.floats((factor * cells) ** 2 * width);
  return async (backend) => {
    const [source, out] = [upload(backend, x, width), backend.createActivation(cells ** 2, width)];
    const pass = backend.createPass();
    pass.averagePool(out, source, factor * cells, factor);
    await pass.submit();
    return download(backend, out);
  };
}

function addAtScenario(dice: Dice): Scenario {
  const [x, y] = [dice.floats(20 * 8), dice.floats(7 * 8)];
  return async (backend) => {
    const target = upload(backend, x, 8);
    const pass = backend.createPass();
    pass.add(target, upload(backend, y, 8), 7, 11);
    await pass.submit();
    return download(backend, target);
  };
}

export function mutualAttentionScenario(dice: Dice, tokens: number): Scenario {
  const [heads, headDim] = [dice.between(1, 3), dice.pick([15, 32, 72, 80, 256])];
  const width = heads * headDim;
  const [q, k, v] = [dice.floats(tokens * width), dice.floats(tokens * width), dice.floats(tokens * width)];
  return async (backend) => {
    const parts = [q, k, v].map((values) => upload(backend, values, width));
    const [queries, keys, values] = parts as [
      (typeof parts)[number],
      (typeof parts)[number],
      (typeof parts)[number],
    ];
    const pass = backend.createPass();
    pass.mutualAttention(queries, queries, keys, values, { tokens, heads, scale: headDim ** -0.5 });
    await pass.submit();
    return download(backend, queries);
  };
}

/** Patches enough for int8 codes, where an instruction set has them. `sharp`: how far scores lie apart. */
function codedAttentionScenario(dice: Dice, tokens: number, sharp: number): Scenario {
  const [heads, headDim] = dice.pick([
    [2, 15],
    [1, 72],
  ] as const);
  const width = heads * headDim;
  const [q, k, v] = [
    dice.floats(tokens * width, sharp),
    dice.floats(tokens * width),
    dice.floats(tokens * width),
  ];
  // What all keys have in common changes no weight, and what all values have in common comes out as it is.
  const [commonKey, commonValue] = [dice.floats(width, 8), dice.floats(width, 8)];
  for (let i = 0; i < k.length; i++) {
    k[i]! += commonKey[i % width]!;
    v[i]! += commonValue[i % width]!;
  }
  return async (backend) => {
    const [queries, keys, values] = [
      upload(backend, q, width),
      upload(backend, k, width),
      upload(backend, v, width),
    ];
    const pass = backend.createPass();
    pass.mutualAttention(queries, queries, keys, values, { tokens, heads, scale: headDim ** -0.5 });
    await pass.submit();
    // Without the common part, which would make any error look small.
    return download(backend, queries).map((value, i) => value - commonValue[i % width]!);
  };
}

export function roundedMatmulScenario(dice: Dice): Scenario {
  const [rows, columns, tokens] = [
    dice.pick([1, 16, 40, 304]),
    dice.pick([1, 33, 588, 1152, 4304]),
    dice.pick([1, 12, 13, 100]),
  ];
  const [weight, x] = [dice.floats(rows * columns, columns ** -0.5), dice.floats(tokens * columns)];
  return async (backend) => {
    const matrix = await backend.loadMatrix(
      { name: 'w', type: 'F32', rows, columns, data: float32Bytes(weight) },
      true,
    );
    const [source, out] = [upload(backend, x, columns), backend.createActivation(tokens, rows)];
    const pass = backend.createPass();
    pass.matmul(source, [{ weight: matrix, out }], tokens);
    await pass.submit();
    matrix.dispose();
    return download(backend, out);
  };
}

export function visionTests(subject: Subject, backend: () => Backend, oracle: () => Backend): void {
  const compare = async (scenario: Scenario, tolerance: number, on = backend()) =>
    assertClose(await scenario(on), await scenario(oracle()), tolerance);

  test('layerNorm, addBias, averagePool and add at a row equal the oracle', async () => {
    for (let seed = 0; seed < cases(30); seed++) {
      await compare(layerNormScenario(new Dice(seed)), 5e-6);
      await compare(addBiasScenario(new Dice(seed)), 2e-6);
      await compare(averagePoolScenario(new Dice(seed)), 1e-6);
      await compare(addAtScenario(new Dice(seed)), 0);
    }
  });

  test('mutual attention equals the oracle: 5e-6 in F32, 1e-2 where it may round', async () => {
    const rounding = subject.create({ precision: 'int8', threads: 2 });
    for (let seed = 0; seed < cases(8); seed++) {
      const tokens = new Dice(seed).pick([1, 16, 47, 128, 200, 300]);
      await compare(mutualAttentionScenario(new Dice(seed), tokens), 5e-6);
      await compare(mutualAttentionScenario(new Dice(seed), tokens), 1e-2, rounding);
    }
    rounding.dispose();
  });

  test('attention of many patches equals the oracle within 2e-2, however sharply rows choose', async () => {
    const rounding = subject.create({ precision: 'int8', threads: 2 });
    for (let seed = 0; seed < cases(4); seed++) {
      const dice = new Dice(seed);
      const [tokens, sharp] = [dice.pick([512, 531, 640]), dice.pick([0, 0.5, 1, 4, 16])];
      await compare(codedAttentionScenario(new Dice(seed), tokens, sharp), 2e-2, rounding);
    }
    // One key takes nearly all of every row's weight.
    await compare(codedAttentionScenario(new Dice(9), 531, 60), 2e-2, rounding);
    rounding.dispose();
  });

  test('a number that is not finite in one patch breaks no process, and no other head', async () => {
    const [tokens, width] = [600, 64];
    const dice = new Dice(3);
    const parts = [0, 1, 2].map(() => dice.floats(tokens * width));
    for (const [i, part] of parts.entries()) part[(100 + i) * width + i] = [NaN, Infinity, -Infinity][i]!;
    const rounding = subject.create({ precision: 'int8', threads: 2 });
    const attend = async (on: Backend) => {
      const [q, k, v] = [
        upload(on, parts[0]!, width),
        upload(on, parts[1]!, width),
        upload(on, parts[2]!, width),
      ];
      const pass = on.createPass();
      pass.mutualAttention(q, q, k, v, { tokens, heads: 2, scale: 32 ** -0.5 });
      await pass.submit();
      return download(on, q).filter((_, at) => at % width >= width / 2);
    };
    assertClose(await attend(rounding), await attend(oracle()), 2e-2);
    rounding.dispose();
  });

  test('rounded matrices equal the oracle: 5e-6 in F32, 1e-2 in BF16, 2e-2 in int8', async () => {
    const codes = subject.create({ precision: 'int8', threads: 2 });
    const halves = subject.create({ precision: 'bf16', threads: 2 });
    for (let seed = 0; seed < cases(12); seed++) {
      await compare(roundedMatmulScenario(new Dice(seed)), 5e-6);
      // Of rows that have nothing in common: the worst of thousands of values.
      await compare(roundedMatmulScenario(new Dice(seed)), 2e-2, codes);
      await compare(roundedMatmulScenario(new Dice(seed)), 1e-2, halves);
    }
    codes.dispose();
    halves.dispose();
  });

  test('what is common to 16 rows is multiplied by more than int8 codes', async () => {
    const [rows, columns, tokens] = [40, 1152, 40];
    const dice = new Dice(5);
    const weight = dice.floats(rows * columns, columns ** -0.5);
    // Every row the same, of values that int8 holds exactly: what is left is the error of the weights.
    const row = Float32Array.from({ length: columns }, () => dice.between(-127, 127));
    for (let i = 0; i < columns; i += 32) row[i] = 127;
    const x = Float32Array.from({ length: tokens * columns }, (_, i) => row[i % columns]!);
    const scenario: Scenario = async (on) => {
      const source = { name: 'w', type: 'F32', rows, columns, data: float32Bytes(weight) } as const;
      const [matrix, out] = [await on.loadMatrix(source, true), on.createActivation(tokens, rows)];
      const pass = on.createPass();
      pass.matmul(upload(on, x, columns), [{ weight: matrix, out }], tokens);
      await pass.submit();
      return download(on, out);
    };
    const codes = subject.create({ precision: 'int8', threads: 2 });
    await compare(scenario, 1e-4, codes);
    codes.dispose();
  });

  test('an image gives the same bits for any number of threads', async () => {
    const one = subject.create({ precision: 'int8', threads: 1 });
    const three = subject.create({ precision: 'int8', threads: 3 });
    for (const scenario of [
      mutualAttentionScenario(new Dice(1), 300),
      codedAttentionScenario(new Dice(1), 600, 1),
      roundedMatmulScenario(new Dice(2)),
    ]) {
      assertSameBits(await scenario(three), await scenario(one), 'three threads and one');
    }
    one.dispose();
    three.dispose();
  });
}
