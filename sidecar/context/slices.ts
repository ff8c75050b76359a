/** Long work in short pieces, so that the thread that does it also answers the editor and hears a cancel. */

/** Work between two looks at whatever else the process has to do. */
const SLICE_MS = 15;
/** Items that are sorted at once. */
const SORTED_AT_ONCE = 4096;

/** Runs `work` on each item, letting other work in between. Throws the signal's reason. */
export async function inSlices<T>(
  items: readonly T[],
  work: (item: T, index: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  let started = performance.now();
  for (let i = 0; i < items.length; i++) {
    work(items[i]!, i);
    if (performance.now() - started < SLICE_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    started = performance.now();
  }
}

/** As `items.toSorted(compare)`: short runs sorted, then merged by twos. */
export async function sortedInSlices<T>(
  items: readonly T[],
  compare: (a: T, b: T) => number,
  signal?: AbortSignal,
): Promise<T[]> {
  let runs: T[][] = [];
  for (let i = 0; i < items.length; i += SORTED_AT_ONCE) runs.push(items.slice(i, i + SORTED_AT_ONCE));
  await inSlices(runs, (run) => run.sort(compare), signal);
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let i = 0; i < runs.length; i += 2) {
      const right = runs[i + 1];
      merged.push(right ? await mergedInSlices(runs[i]!, right, compare, signal) : runs[i]!);
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

async function mergedInSlices<T>(
  left: readonly T[],
  right: readonly T[],
  compare: (a: T, b: T) => number,
  signal: AbortSignal | undefined,
): Promise<T[]> {
  // Mostly in order already.
  if (compare(left.at(-1)!, right[0]!) <= 0) return [...left, ...right];
  const merged: T[] = [];
  let l = 0;
  await inSlices(
    right,
    (item) => {
      while (l < left.length && compare(left[l]!, item) <= 0) merged.push(left[l++]!);
      merged.push(item);
    },
    signal,
  );
  while (l < left.length) merged.push(left[l++]!);
  return merged;
}
