/** The k largest of many logits without sorting them all, or from those that the backend has found already. */
import type { TopRequest } from '../backend/backend.ts';

export interface TopLogits {
  /** Largest first; equal values in order of id. */
  readonly ids: Uint32Array;
  readonly values: Float32Array;
}

/** What `Pass.topLogits` left in a row: the greatest logits, then those asked for by id, some of them perhaps again. */
export function topLogitsOfRow(row: Float32Array, { count, also }: TopRequest): TopLogits {
  const slots = row.length / 2;
  const ids = row.subarray(slots);
  let found = 0;
  while (found < count && ids[found]! >= 0) found++;
  const places = [...Array(found).keys(), ...Array.from(also, (_, i) => count + i)];
  return {
    ids: Uint32Array.from(places, (place) => ids[place]!),
    values: Float32Array.from(places, (place) => row[place]!),
  };
}

/** A bounded heap with the weakest at its root: most of the 262,144 logits fail one comparison and are done. */
export function topLogits(logits: Float32Array, k: number): TopLogits {
  const size = Math.min(k, logits.length);
  const heap = new Uint32Array(size);
  const weaker = (a: number, b: number): boolean => {
    const x = logits[a]!;
    const y = logits[b]!;
    return x < y || (x === y && a > b);
  };
  const sink = (root: number, count: number): void => {
    const id = heap[root]!;
    let at = root;
    for (let child = 2 * at + 1; child < count; child = 2 * at + 1) {
      if (child + 1 < count && weaker(heap[child + 1]!, heap[child]!)) child++;
      if (!weaker(heap[child]!, id)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = id;
  };
  for (let i = 0; i < size; i++) heap[i] = i;
  for (let i = (size >> 1) - 1; i >= 0; i--) sink(i, size);
  let threshold = size > 0 ? logits[heap[0]!]! : Number.POSITIVE_INFINITY;
  for (let id = size; id < logits.length; id++) {
    // An equal value with a higher id is weaker than the root.
    if (logits[id]! > threshold) {
      heap[0] = id;
      sink(0, size);
      threshold = logits[heap[0]!]!;
    }
  }
  // Taking out the weakest again and again leaves the strongest in front.
  for (let count = size - 1; count > 0; count--) {
    const weakest = heap[0]!;
    heap[0] = heap[count]!;
    heap[count] = weakest;
    sink(0, count);
  }
  return { ids: heap, values: Float32Array.from(heap, (id) => logits[id]!) };
}
