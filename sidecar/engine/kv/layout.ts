/**
 * What the KV cache of a hybrid model looks like. Sliding-window layers ("local") need the last `window` positions,
 * global layers all of them; each class has pages and page tables of its own.
 */
import {
  coldPages,
  type KvFormat,
  type KvShape,
  type KvView,
  PAGE_POSITIONS,
  type SparseReading,
} from '../backend/backend.ts';

export type LayerClass = 'local' | 'global';
export type PerClass<T> = Readonly<Record<LayerClass, T>>;
export type KvViews = PerClass<KvView>;

export interface KvLayout {
  readonly shapes: PerClass<KvShape>;
  /** Positions that a local layer attends to, self included. */
  readonly window: number;
  /** Tokens of a pass at most: while they are computed, the window of the first and of the last are both needed. */
  readonly chunk: number;
  /** How global pages are kept that are neither among the first nor hot, which are F16. Absent: as F16 too. */
  readonly cold?: ColdLayout;
  /** How tokens choose among global pages. Absent: they read all. */
  readonly sparse?: SparseReading;
}

/**
 * Which form of a page a token reads depends on their two positions alone ({@link coldPages}), so results do not depend on
 * chunks, timing or what was rolled back.
 */
export interface ColdLayout {
  readonly format: ColdFormat;
  /** Pages up to and with a token's own that it reads as F16; so many that a page is complete when it turns cold. */
  readonly hotPages: number;
  /** Pages from the start of the text that stay F16, as many as memory allows. 0 where tokens choose among pages. */
  readonly exactPages: number;
}

export type ColdFormat = Exclude<KvFormat, 'f16'>;

/** Pages from the start of the text that stay F16 though those behind them are compressed. */
export function exactPages({ cold }: KvLayout): number {
  return cold?.exactPages ?? 0;
}

/** The least hot pages: whatever pass comes, the first page that its last token reads as codes was complete before it. */
export function leastHotPages(chunk: number): number {
  return pagesForAny(chunk);
}

/** Bytes of one page: keys and values of every layer of the class. As `kv_head_bytes` of kv_codes.h. */
export function pageBytes({ layers, kvHeads, headDim }: KvShape, format: KvFormat = 'f16'): number {
  const values = 2 * PAGE_POSITIONS * headDim;
  const bytes = {
    f16: 2 * values,
    int8: values + 4 * PAGE_POSITIONS,
    int4: values / 2 + 4 * PAGE_POSITIONS * (headDim / (headDim % 32 === 0 ? 32 : 16)),
  };
  return layers * kvHeads * bytes[format];
}

export function pagesFor(positions: number): number {
  return Math.ceil(positions / PAGE_POSITIONS);
}

/** Pages that hold any `positions` consecutive positions, wherever they begin. */
function pagesForAny(positions: number): number {
  return pagesFor(positions + PAGE_POSITIONS - 1);
}

/** Pages of a local ring: the window of the first token of a pass to its last token. */
export function ringPages({ window, chunk }: KvLayout): number {
  return pagesForAny(window - 1 + chunk);
}

/** Pages of a kept window, from which a sequence can go on. */
export function windowPages({ window }: KvLayout): number {
  return pagesForAny(window);
}

/** The first page that tokens at `position` and later read in local layers. */
export function firstLocalPage(layout: KvLayout, position: number): number {
  return Math.floor(Math.max(0, position - layout.window + 1) / PAGE_POSITIONS);
}

/** Bytes that one page takes for the range of its keys. As `kv_bound_bytes` of kv_bounds.h. */
export function boundBytes({ layers, kvHeads, headDim }: KvShape): number {
  return layers * kvHeads * 64 * Math.ceil((4 * headDim + 4) / 64);
}

/** The first global page, behind those that are always F16, that tokens at `position` and later read as F16. */
export function firstHotPage({ cold }: KvLayout, position: number): number {
  return cold === undefined ? 0 : Math.max(cold.exactPages, coldPages(cold.hotPages, Math.max(0, position)));
}

/** F16 global pages of one running sequence at most. */
export function hotRunPages({ cold, chunk }: KvLayout, contextPages: number): number {
  if (cold === undefined) return contextPages;
  return Math.min(contextPages, cold.exactPages + cold.hotPages + pagesForAny(chunk));
}
