/** The image tower's operations on the oracle: each checks its arguments and returns what computes it. */
import type { Activation, Vector } from '../../sidecar/engine/backend/backend.ts';
import * as math from './oracle-math.ts';
import { activation, equal, type OracleActivation, positive, rows, vector } from './oracle-objects.ts';

export function layerNorm(
  out: Activation,
  x: Activation,
  weight: Vector,
  bias: Vector,
  tokens: number,
  eps: number,
): () => void {
  const [target, source] = [activation(out), activation(x)];
  const [scale, shift] = [vector(weight), vector(bias)];
  rows(target, tokens);
  rows(source, tokens);
  for (const width of [scale.length, shift.length, target.width]) equal(source.width, width, 'width');
  return () => {
    for (let token = 0; token < tokens; token++) {
      math.layerNorm(target.row(token), source.row(token), scale.values, shift.values, eps);
    }
  };
}

export function addBias(x: Activation, bias: Vector, tokens: number, then?: 'gelu'): () => void {
  const [target, shift] = [activation(x), vector(bias)];
  rows(target, tokens);
  equal(target.width, shift.length, 'width of the bias');
  return () => {
    for (let i = 0; i < tokens * target.width; i++) {
      const sum = Math.fround((target.values[i] ?? 0) + (shift.values[i % target.width] ?? 0));
      target.values[i] = then === 'gelu' ? math.geluTanh(sum) : sum;
    }
  };
}

export function averagePool(out: Activation, x: Activation, side: number, factor: number): () => void {
  const [target, source] = [activation(out), activation(x)];
  if (positive(side, 'side') % positive(factor, 'factor') !== 0)
    throw new RangeError(`A side of ${side} is no multiple of ${factor}`);
  rows(source, side * side);
  rows(target, (side / factor) ** 2);
  equal(source.width, target.width, 'width');
  if (source === target) throw new RangeError('averagePool cannot write to its own input');
  return () => {
    for (let cell = 0; cell < (side / factor) ** 2; cell++) {
      const top = Math.floor(cell / (side / factor)) * factor;
      const left = (cell % (side / factor)) * factor;
      for (let i = 0; i < target.width; i++) {
        let sum = 0;
        for (let n = 0; n < factor * factor; n++) {
          sum += source.row((top + Math.floor(n / factor)) * side + left + (n % factor))[i] ?? 0;
        }
        target.row(cell)[i] = sum / (factor * factor);
      }
    }
  };
}

export function mutualAttention(
  out: Activation,
  q: Activation,
  k: Activation,
  v: Activation,
  { tokens, heads, scale }: { readonly tokens: number; readonly heads: number; readonly scale: number },
): () => void {
  const [target, queries, keys, values] = [activation(out), activation(q), activation(k), activation(v)];
  for (const part of [target, queries, keys, values]) {
    rows(part, tokens);
    equal(part.width, queries.width, 'width');
  }
  if (queries.width % positive(heads, 'heads') !== 0 || queries.width / heads > 256)
    throw new RangeError(`${heads} heads do not fill a width of ${queries.width} with at most 256 each`);
  if (target === keys || target === values) throw new RangeError('mutualAttention: out is k or v');
  const headDim = queries.width / heads;
  return () => {
    for (let head = 0; head < heads; head++) {
      const slice = (from: OracleActivation) => (index: number) =>
        from.row(index).subarray(head * headDim, (head + 1) * headDim);
      for (let token = 0; token < tokens; token++) {
        const query = slice(queries)(token).slice();
        math.attention(slice(target)(token), query, tokens, slice(keys), slice(values), scale);
      }
    }
  };
}
