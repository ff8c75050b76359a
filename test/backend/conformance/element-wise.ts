/** Norms, rotary embedding, GELU and addition against the oracle. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend } from '../../../sidecar/engine/backend/backend.ts';
import { cases } from './subjects.ts';
import { assertClose, Dice, download, float32Bytes, type Scenario, upload } from './world.ts';

type Compare = (scenario: Scenario, tolerance: number) => Promise<void>;

function vectorOf(backend: Backend, values: Float32Array) {
  return backend.loadVector({
    name: 'weight',
    type: 'F32',
    rows: 1,
    columns: values.length,
    data: float32Bytes(values),
  });
}

function rmsNormScenario(dice: Dice): Scenario {
  const width = dice.pick([1, 7, 16, 33, 64, 100, 640, 1152, 20_000]);
  const tokens = dice.between(1, 9);
  const x = dice.floats(tokens * width, dice.pick([1e-4, 1, 1e4]));
  const weight = dice.floats(width);
  const inPlace = dice.pick([true, false]);
  const first = inPlace ? 0 : dice.between(0, tokens - 1);
  return async (backend) => {
    const source = upload(backend, x, width);
    const target = inPlace ? source : backend.createActivation(tokens, width);
    const pass = backend.createPass();
    pass.rmsNorm(target, source, await vectorOf(backend, weight), tokens - first, 1e-6, first);
    await pass.submit();
    return download(backend, target);
  };
}

function rmsNormHeadsScenario(dice: Dice): Scenario {
  const [heads, headDim, tokens] = [dice.between(1, 8), dice.pick([64, 80, 128, 256]), dice.between(1, 40)];
  const x = dice.floats(tokens * heads * headDim, 3);
  const weight = dice.floats(headDim);
  return async (backend) => {
    const target = upload(backend, x, heads * headDim);
    const pass = backend.createPass();
    pass.rmsNormHeads(target, await vectorOf(backend, weight), tokens, heads, 1e-6);
    await pass.submit();
    return download(backend, target);
  };
}

function ropeScenario(dice: Dice): Scenario {
  const [heads, headDim, tokens] = [
    dice.between(1, 5),
    dice.pick([2, 64, 96, 128, 256]),
    dice.between(1, 20),
  ];
  const position = dice.pick([0, 1, 511, 131_072 - 20, 1 << 20]);
  const [base, factor] = dice.pick([
    [10_000, 1],
    [1e6, 1],
    [1e6, 8],
  ] as const);
  const x = dice.floats(tokens * heads * headDim);
  return async (backend) => {
    const target = upload(backend, x, heads * headDim);
    const pass = backend.createPass();
    pass.rope(target, tokens, heads, headDim, position, base, factor);
    await pass.submit();
    return download(backend, target);
  };
}

function addScenario(dice: Dice): Scenario {
  const [tokens, width] = [dice.between(1, 30), dice.pick([1, 17, 640, 5376])];
  const [a, b] = [dice.floats(tokens * width), dice.floats(tokens * width)];
  const used = dice.between(1, tokens);
  return async (backend) => {
    const target = upload(backend, a, width);
    const pass = backend.createPass();
    pass.add(target, upload(backend, b, width), used);
    await pass.submit();
    return download(backend, target);
  };
}

/** Relative error of every single value, as GELU's result spans forty orders of magnitude. */
async function geluIsAccurate(subject: Backend, oracle: Backend, dice: Dice): Promise<void> {
  const [tokens, width] = [dice.between(1, 20), dice.pick([3, 31, 2048])];
  const gate = dice.floats(tokens * width, dice.pick([1e-3, 1, 5]));
  gate.set([0, -0, 1e-30, 40, -40, 1e20].slice(0, gate.length));
  const up = dice.floats(tokens * width);
  const scenario: Scenario = async (backend) => {
    const target = upload(backend, gate, width);
    const pass = backend.createPass();
    pass.geluMul(target, target, upload(backend, up, width), tokens);
    await pass.submit();
    return download(backend, target);
  };
  const [actual, expected] = [await scenario(subject), await scenario(oracle)];
  for (const [i, value] of expected.entries()) {
    const bound = 1e-6 * Math.abs(gate[i]! * up[i]!) + 1e-37;
    assert.ok(
      Math.abs(actual[i]! - value) <= bound,
      `gelu(${gate[i]}) * ${up[i]} is ${actual[i]}, not ${value}`,
    );
  }
}

export function elementWiseTests(subject: () => Backend, oracle: () => Backend): void {
  const compare: Compare = async (scenario, tolerance) =>
    assertClose(await scenario(subject()), await scenario(oracle()), tolerance);
  const families: readonly [string, (dice: Dice) => Scenario, number][] = [
    ['rmsNorm', rmsNormScenario, 1e-6],
    ['rmsNormHeads', rmsNormHeadsScenario, 1e-6],
    ['rope', ropeScenario, 5e-7],
    ['add', addScenario, 0],
  ];
  for (const [name, scenario, tolerance] of families) {
    test(`${name} equals the oracle within ${tolerance}`, async () => {
      for (let seed = 0; seed < cases(20); seed++) await compare(scenario(new Dice(seed)), tolerance);
    });
  }

  test('geluMul is accurate to 1e-6 for each value', async () => {
    for (let seed = 0; seed < cases(20); seed++) await geluIsAccurate(subject(), oracle(), new Dice(seed));
  });
}
