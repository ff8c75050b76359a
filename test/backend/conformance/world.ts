/** Helpers that make a test case read as: data in, operations, data out, on any backend. */
import assert from 'node:assert/strict';
import {
  type Activation,
  type Backend,
  type KvView,
  PAGE_POSITIONS,
} from '../../../sidecar/engine/backend/backend.ts';
import { seededRandom } from '../../support/random.ts';

/** Random numbers of a case; the same seed gives the same case on every backend. */
export class Dice {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededRandom(seed);
  }

  /** Whole number in [from, to]. */
  between(from: number, to: number): number {
    return from + Math.floor(this.#next() * (to - from + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length - 1)]!;
  }

  /** Values near a normal distribution with the given deviation (sum of uniforms). */
  floats(length: number, deviation = 1): Float32Array {
    return Float32Array.from({ length }, () => {
      const sum = this.#next() + this.#next() + this.#next() + this.#next();
      return (sum - 2) * Math.sqrt(3) * deviation;
    });
  }

  /** The numbers 0 .. count - 1 in random order. */
  permutation(count: number): Int32Array {
    const order = Int32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.between(0, i);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}

/** What is computed on a backend; run on two of them to compare. */
export type Scenario = (backend: Backend) => Promise<Float32Array>;

export function upload(backend: Backend, values: Float32Array, width: number): Activation {
  const activation = backend.createActivation(values.length / width, width);
  backend.upload(activation, values, 0);
  return activation;
}

export function download(backend: Backend, activation: Activation, tokens = activation.tokens): Float32Array {
  const values = new Float32Array(tokens * activation.width);
  backend.readBack(activation, values, 0, tokens);
  return values;
}

/** An arena of one layer class and a sequence whose pages lie in it in random order. */
export function sequence(
  backend: Backend,
  shape: { readonly layers: number; readonly kvHeads: number; readonly headDim: number },
  pageTable: Int32Array,
): KvView {
  return { arena: backend.createKvArena(shape, pageTable.length), pageTable };
}

export function pagesFor(positions: number): number {
  return Math.ceil(positions / PAGE_POSITIONS);
}

export function float32Bytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Largest difference, as a share of the largest expected magnitude, is at most `tolerance`. */
export function assertClose(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  let worst = 0;
  let at = 0;
  for (const [i, value] of expected.entries()) {
    const difference = Math.abs(actual[i]! - value);
    assert.ok(!Number.isNaN(difference), `value ${i} is ${actual[i]}, expected ${value}`);
    if (difference > worst) [worst, at] = [difference, i];
  }
  assert.ok(
    worst <= tolerance * largest,
    `value ${at} is ${actual[at]}, expected ${expected[at]}; off by ${(worst / largest).toExponential(1)} of the largest`,
  );
}

/** Every bit equal, so that -0 and NaN count too. */
export function assertSameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(actual.length, expected.length);
  const [a, b] = [actual, expected].map(
    (values) => new Uint32Array(values.buffer, values.byteOffset, values.length),
  );
  const at = a!.findIndex((bits, i) => bits !== b![i]);
  assert.equal(at, -1, `${what}: value ${at} is ${actual[at]} here and ${expected[at]} there`);
}
