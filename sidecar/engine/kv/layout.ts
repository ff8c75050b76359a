/**
 * What the KV cache of a hybrid model looks like. Sliding-window layers ("local") need the last `window` positions,
 * global layers all of them; each class has pages and page tables of its own.
 */
import { type KvShape, type KvView, PAGE_POSITIONS } from '../backend/backend.ts';

export type LayerClass = 'local' | 'global';
export type PerClass<T> = Readonly<Record<LayerClass, T>>;
export type KvViews = PerClass<KvView>;

export interface KvLayout {
  readonly shapes: PerClass<KvShape>;
  /** Positions that a local layer attends to, self included. */
  readonly window: number;
  /** Tokens of a pass at most: while they are computed, the window of the first and of the last are both needed. */
  readonly chunk: number;
}

/** Bytes of one page: keys and values of every layer of the class, F16. */
export function pageBytes({ layers, kvHeads, headDim }: KvShape): number {
  return layers * kvHeads * headDim * PAGE_POSITIONS * 2 * 2;
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
