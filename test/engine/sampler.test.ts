/** Choosing tokens: partial selection, each filter, penalties, seeds, refusals, and stop strings. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NonFiniteLogits, Sampler, type SamplingParameters } from '../../sidecar/engine/sampler/sampler.ts';
import { StopStrings } from '../../sidecar/engine/sampler/stop-strings.ts';
import { topLogits } from '../../sidecar/engine/sampler/top-k.ts';
import { seededRandom } from '../support/random.ts';

const OFF: SamplingParameters = { temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 };

test('partial selection equals sorting, ties in order of id', () => {
  const random = seededRandom(1);
  for (const [size, k] of [
    [1, 1],
    [5, 9],
    [1000, 64],
    [262_144, 64],
    [3000, 3000],
  ] as const) {
    const logits = Float32Array.from({ length: size }, () => Math.floor(random() * 500));
    const sorted = Array.from(logits, (value, id) => ({ value, id })).sort(
      (a, b) => b.value - a.value || a.id - b.id,
    );
    const expected = sorted.slice(0, k);
    const { ids, values } = topLogits(logits, k);
    assert.deepEqual(
      [...ids],
      expected.map(({ id }) => id),
    );
    assert.deepEqual(
      [...values],
      expected.map(({ value }) => value),
    );
  }
});

describe('sampler', () => {
  test('temperature 0 takes the largest logit', () => {
    assert.equal(drawn({ temperature: 0 }, [1, 5, 3]), 1);
  });

  test('draws follow the probabilities', () => {
    const logits = [Math.log(0.6), Math.log(0.3), Math.log(0.1)];
    const shares = frequencies({}, logits, 20_000);
    for (const [i, expected] of [0.6, 0.3, 0.1].entries()) assert.ok(Math.abs(shares[i]! - expected) < 0.015);
  });

  test('temperature sharpens', () => {
    const logits = [Math.log(0.6), Math.log(0.4)];
    const share = frequencies({ temperature: 0.5 }, logits, 20_000)[0]!;
    assert.ok(Math.abs(share - 0.36 / 0.52) < 0.015);
  });

  test('top-k, top-p and min-p leave out what they should', () => {
    const logits = [0.5, 0.25, 0.15, 0.1].map(Math.log);
    const possible = (parameters: Partial<SamplingParameters>) =>
      frequencies(parameters, logits, 3000).flatMap((share, id) => (share > 0 ? [id] : []));
    assert.deepEqual(possible({}), [0, 1, 2, 3]);
    assert.deepEqual(possible({ topK: 2 }), [0, 1]);
    assert.deepEqual(possible({ topP: 0.76 }), [0, 1, 2]);
    assert.deepEqual(possible({ topP: 0 }), [0]);
    assert.deepEqual(possible({ minP: 0.4 }), [0, 1]);
    assert.deepEqual(possible({ topK: 3, topP: 0.5 }), [0]);
  });

  test('top-p over a flat distribution takes more candidates than are tried first', () => {
    const ids = new Set(
      Array.from({ length: 3000 }, (_, seed) => drawn({ topP: 0.9, seed }, new Array(5000).fill(0))),
    );
    assert.ok(Math.max(...ids) > 4000 && Math.max(...ids) < 4500);
  });

  test('the repetition penalty makes recent tokens less likely, whatever the sign', () => {
    const sampler = new Sampler({ ...OFF, temperature: 0, repetitionPenalty: 2 });
    assert.equal(sampler.next(Float32Array.of(4, 3, 1), Uint32Array.of(0)), 1);
    assert.equal(sampler.next(Float32Array.of(-2, -3, -9), Uint32Array.of(0)), 1);
  });

  test('the logits it requests give what all of them give', () => {
    const random = seededRandom(7);
    const vocabulary = 300;
    for (let round = 0; round < 400; round++) {
      // Few different values, so that ties decide.
      const logits = Float32Array.from({ length: vocabulary }, () => Math.round(20 * random() ** 4) - 6);
      const parameters: SamplingParameters = {
        temperature: round % 4 === 0 ? 0 : 0.2 + random(),
        topK: 1 + Math.floor(random() * (round % 5 === 0 ? 400 : 20)),
        topP: round % 2 === 0 ? 1 : random(),
        minP: round % 3 === 0 ? 0.3 * random() : 0,
        repetitionPenalty: [1, 1.3, 0.7][round % 3]!,
        seed: round,
      };
      // Tokens of an image, which have no logits, among them.
      const recent = Uint32Array.from({ length: 80 }, () =>
        random() < 0.1 ? 2 ** 31 + 5 : Math.floor(random() ** 2 * vocabulary),
      );
      const request = new Sampler(parameters).request(recent, vocabulary)!;
      const best = topLogits(logits, request.count);
      const top = {
        ids: Uint32Array.of(...best.ids, ...Array.from(request.also)),
        values: Float32Array.of(...best.values, ...Array.from(request.also, (id) => logits[id]!)),
      };
      const [fromAll, fromTop] = [new Sampler(parameters), new Sampler(parameters)];
      for (let draw = 0; draw < 3; draw++) {
        assert.equal(
          fromTop.next({ ids: top.ids.slice(), values: top.values.slice() }, recent),
          fromAll.next(logits.slice(), recent),
        );
      }
    }
  });

  test('it needs all logits without top-k', () => {
    const request = (parameters: Partial<SamplingParameters>) =>
      new Sampler({ ...OFF, ...parameters }).request(Uint32Array.of(1, 2, 2), 100);
    assert.equal(request({ topP: 0.9 }), null);
    assert.deepEqual(request({ temperature: 0 }), { count: 1, also: [] });
    assert.deepEqual(request({ topK: 64 }), { count: 64, also: [] });
    assert.deepEqual(request({ topK: 64, repetitionPenalty: 1.1 }), { count: 66, also: [1, 2] });
  });

  test('a seed repeats', () => {
    const logits = Float32Array.from({ length: 100 }, (_, i) => Math.sin(i));
    const sequence = (seed: number) => {
      const sampler = new Sampler({ ...OFF, seed });
      return Array.from({ length: 20 }, () => sampler.next(logits.slice(), new Uint32Array()));
    };
    assert.deepEqual(sequence(5), sequence(5));
    assert.notDeepEqual(sequence(5), sequence(6));
    assert.notDeepEqual(sequence(5), sequence(5 + 2 ** 32));
  });

  test('values that are no numbers stop it', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      assert.throws(() => drawn({}, [0, bad, 1]), NonFiniteLogits);
      const top = { ids: Uint32Array.of(17, 2), values: Float32Array.of(bad, 1) };
      assert.throws(() => new Sampler({ ...OFF, topK: 2 }).next(top, new Uint32Array()), /logit of token 17/);
    }
  });

  test('parameters out of range are refused by name', () => {
    assert.throws(() => new Sampler({ ...OFF, temperature: -1 }), /temperature is -1/);
    assert.throws(() => new Sampler({ ...OFF, topK: 1.5 }), /topK is 1.5/);
    assert.throws(() => new Sampler({ ...OFF, topP: Number.NaN }), /topP is NaN/);
  });
});

describe('stop strings', () => {
  const pushed = (stops: readonly string[], pieces: readonly string[]) => {
    const stop = new StopStrings(stops);
    let text = '';
    for (const piece of pieces) {
      const result = stop.push(piece);
      text += result.text;
      if (result.stopped) return { text, stopped: true };
    }
    return { text: text + stop.end(), stopped: false };
  };

  test('end the text however it is cut into pieces', () => {
    const whole = 'one\ntwo END three';
    for (let size = 1; size <= whole.length; size++) {
      const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, i) =>
        whole.slice(i * size, (i + 1) * size),
      );
      assert.deepEqual(pushed(['END', 'nothing'], pieces), { text: 'one\ntwo ', stopped: true });
      assert.deepEqual(pushed(['ENDS', 'threes'], pieces), { text: whole, stopped: false });
    }
  });

  test('hold back only what could still become one', () => {
    const stop = new StopStrings(['abc']);
    assert.deepEqual(stop.push('xab'), { text: 'x', stopped: false });
    assert.deepEqual(stop.push('d'), { text: 'abd', stopped: false });
    assert.equal(stop.end(), '');
  });

  test('the first of several counts', () => {
    assert.deepEqual(pushed(['zz', 'b'], ['abzz']), { text: 'a', stopped: true });
  });
});

function drawn(parameters: Partial<SamplingParameters>, logits: readonly number[]): number {
  return new Sampler({ ...OFF, ...parameters }).next(Float32Array.from(logits), new Uint32Array());
}

function frequencies(
  parameters: Partial<SamplingParameters>,
  logits: readonly number[],
  draws: number,
): number[] {
  const sampler = new Sampler({ ...OFF, ...parameters });
  const counts = logits.map(() => 0);
  for (let i = 0; i < draws; i++) counts[sampler.next(Float32Array.from(logits), new Uint32Array())]!++;
  return counts.map((count) => count / draws);
}
