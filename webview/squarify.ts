/** Squarified treemap layout (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000). Pure. */

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/**
 * One box for each size, in the order of `sizes`, which must be descending; together they fill `area` exactly, each in
 * proportion to its size. Sizes of 0 or less get empty boxes.
 */
export function squarify(sizes: readonly number[], area: Box): Box[] {
  const total = sizes.reduce((sum, size) => sum + Math.max(0, size), 0);
  const boxes: Box[] = [];
  let free = area;
  let left = total;
  let start = 0;
  while (start < sizes.length) {
    if (left <= 0 || free.width <= 0 || free.height <= 0) {
      boxes.push({ x: free.x, y: free.y, width: 0, height: 0 });
      start++;
      continue;
    }
    const scale = (free.width * free.height) / left;
    const side = Math.min(free.width, free.height);
    let end = start + 1;
    let sum = Math.max(0, sizes[start] ?? 0) * scale;
    let worst = worstRatio(sizes, start, end, sum, scale, side);
    while (end < sizes.length) {
      const nextSum = sum + Math.max(0, sizes[end] ?? 0) * scale;
      const next = worstRatio(sizes, start, end + 1, nextSum, scale, side);
      if (next > worst) break;
      [sum, worst] = [nextSum, next];
      end++;
    }
    const lastRow = end === sizes.length;
    free = placeRow(boxes, sizes, start, end, sum, scale, free, lastRow);
    left -= sum / scale;
    start = end;
  }
  return boxes;
}

/** The largest ratio of sides in a row whose areas sum to `sum`, laid along a side of this length. */
function worstRatio(
  sizes: readonly number[],
  start: number,
  end: number,
  sum: number,
  scale: number,
  side: number,
): number {
  const largest = Math.max(0, sizes[start] ?? 0) * scale;
  const smallest = Math.max(0, sizes[end - 1] ?? 0) * scale;
  if (smallest <= 0 || sum <= 0) return Number.POSITIVE_INFINITY;
  return Math.max((side * side * largest) / (sum * sum), (sum * sum) / (side * side * smallest));
}

/** Lays a row along the shorter side; returns what is left of the area. */
function placeRow(
  boxes: Box[],
  sizes: readonly number[],
  start: number,
  end: number,
  sum: number,
  scale: number,
  free: Box,
  lastRow: boolean,
): Box {
  const along = Math.min(free.width, free.height);
  const across = Math.max(free.width, free.height);
  const thickness = lastRow ? across : Math.min(across, sum / along);
  let offset = 0;
  for (let i = start; i < end; i++) {
    const length = sum > 0 ? ((Math.max(0, sizes[i] ?? 0) * scale) / sum) * along : 0;
    boxes.push(
      free.width >= free.height
        ? { x: free.x, y: free.y + offset, width: thickness, height: length }
        : { x: free.x + offset, y: free.y, width: length, height: thickness },
    );
    offset += length;
  }
  return free.width >= free.height
    ? { ...free, x: free.x + thickness, width: free.width - thickness }
    : { ...free, y: free.y + thickness, height: free.height - thickness };
}
