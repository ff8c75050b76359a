/** How far two next-token distributions are apart. */

export interface Comparison {
  /** Kullback-Leibler divergence of `ours` from `reference`, in nats. */
  readonly divergence: number;
  readonly sameTop: boolean;
  /** How much more likely, in nats, the reference's first choice is than its second. */
  readonly topGap: number;
  /** Largest difference of log-probabilities among the reference's 100 most likely tokens. */
  readonly worst: number;
}

/** Both are log-probabilities, F64 `[vocabulary]`. */
export function compareDistributions(reference: Float64Array, ours: Float64Array): Comparison {
  let divergence = 0;
  for (let i = 0; i < reference.length; i++) {
    divergence += Math.exp(reference[i]!) * (reference[i]! - ours[i]!);
  }
  const order = Array.from(reference, (value, id) => ({ value, id })).sort((a, b) => b.value - a.value);
  const likely = order.slice(0, 100);
  return {
    divergence,
    sameTop: indexOfLargest(ours) === order[0]!.id,
    topGap: order[0]!.value - order[1]!.value,
    worst: Math.max(...likely.map(({ value, id }) => Math.abs(value - ours[id]!))),
  };
}

export function logSoftmax(logits: Float32Array): Float64Array {
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, value) => total + Math.exp(value - most), 0);
  return Float64Array.from(logits, (value) => value - most - Math.log(sum));
}

function indexOfLargest(values: Float64Array): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}
