/** The oracle's choice of KV pages: the formulas of backend.ts's `SparseReading`, in F64. */
import type { KvFormat } from '../../sidecar/engine/backend/backend.ts';

export interface KeyRange {
  readonly least: Float64Array;
  readonly most: Float64Array;
  /** Sum over dimensions of the larger magnitude; infinite if a key is not finite. */
  readonly reach: number;
}

/** The range of each dimension over a page's keys, F16; of codes a step of F16 outwards at least. */
export function keyRange(keys: readonly Float32Array[], format: KvFormat): KeyRange {
  const outwards = (x: number, sign: number) =>
    format === 'f16' ? x : Math.f16round(x + sign * (Math.abs(x) * 2 ** -10 + 2 ** -24));
  const dims = Array.from(keys[0]!, (_, d) => keys.map((key) => key[d]!));
  const least = Float64Array.from(dims, (values) => outwards(Math.min(...values), -1));
  const most = Float64Array.from(dims, (values) => outwards(Math.max(...values), 1));
  const reach = least.reduce((sum, low, d) => sum + Math.max(Math.abs(low), Math.abs(most[d]!)), 0);
  return { least, most, reach: Number.isFinite(reach) ? reach : Number.POSITIVE_INFINITY };
}

/** Mass of a softmax: `total` in units of exp(peak). */
export interface Mass {
  readonly peak: number;
  readonly total: number;
}

export interface Choice {
  has(page: number): boolean;
  /** At most this share of the softmax of query `row` was on pages that are not chosen, where the others had `read`. */
  missed(row: number, read: Mass): number;
}

/** Page 0 and the `top` pages with the best bounds for any of the queries, each relative to its query's best page. */
export function choosePages(
  queries: readonly Float32Array[],
  pages: readonly KeyRange[],
  top: number,
  scale: number,
): Choice {
  if (pages.length <= top + 1) return { has: () => true, missed: () => 0 };
  const bounds = queries.map((q) => pages.map((page) => bound(q, page, scale)));
  const peaks = bounds.map((row) => Math.max(...row.filter(Number.isFinite)));
  const ranks = pages.map((_, page) =>
    Math.max(...bounds.map((row, i) => (Number.isFinite(row[page]!) ? row[page]! - peaks[i]! : Infinity))),
  );
  const order = ranks.map((_, page) => page).filter((page) => page > 0);
  order.sort((a, b) => (ranks[a] === ranks[b] ? b - a : ranks[b]! > ranks[a]! ? 1 : -1));
  const chosen = new Set([0, ...order.slice(0, top)]);
  return {
    has: (page) => chosen.has(page),
    missed: (row, { peak, total }) => {
      const unread = pages.reduce(
        (sum, _, page) => sum + (chosen.has(page) ? 0 : 64 * Math.exp(bounds[row]![page]! - peak)),
        0,
      );
      return unread === Infinity ? 1 : unread / (unread + total);
    },
  };
}

function bound(q: Float32Array, { least, most, reach }: KeyRange, scale: number): number {
  const largest = scale * q.reduce((peak, x) => Math.max(peak, Math.abs(x)), 0);
  const sum = q.reduce((total, x, d) => total + scale * Math.max(x * least[d]!, x * most[d]!), 0);
  return sum + largest * 2 ** -15 * reach;
}
