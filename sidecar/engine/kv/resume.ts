/**
 * Where a prompt can go on, from what is in memory and what is on disk together: global pages for everything before that
 * place, local pages for the window before it, each from wherever it is.
 */
import { PAGE_POSITIONS } from '../backend/backend.ts';
import { firstLocalPage, type KvLayout } from './layout.ts';

/** Why tokens had to be read again, or for the first time. */
export type MissReason =
  /** Nothing known begins like this prompt. */
  | 'new'
  /** An earlier prompt went on otherwise; see `differs`. */
  | 'changed'
  /** The prompt is longer than all that is known. */
  | 'longer'
  /** Known once, but no longer held whole in memory or on disk. */
  | 'forgotten'
  /** The disk holds whole blocks of 64 tokens; these are the tokens after the last one. */
  | 'part-of-block';

export interface Miss {
  readonly reason: MissReason;
  /** Index of the first token that was read. */
  readonly position: number;
  /** Where the prompt differs from the earlier one that shares most with it, and the two tokens. */
  readonly differs?: { readonly position: number; readonly before: number; readonly now: number };
}

/** Where each token of a prompt's KV came from. */
export interface Reuse {
  readonly memory: number;
  readonly disk: number;
  readonly miss: Miss | null;
}

export interface BlockSources {
  /** Global blocks that memory or disk holds without a gap from the start. */
  readonly globalBlocks: number;
  hasLocal(block: number): boolean;
}

/** The largest number of whole blocks from which a sequence can go on; 0 if there is none. */
export function mostBlocks(layout: KvLayout, { globalBlocks, hasLocal }: BlockSources): number {
  for (let blocks = globalBlocks; blocks > 0; ) {
    const first = firstLocalPage(layout, blocks * PAGE_POSITIONS);
    let missing = blocks - 1;
    while (missing >= first && hasLocal(missing)) missing--;
    if (missing < first) return blocks;
    // Every end whose window includes the missing block fails too, down to the block itself.
    blocks = missing;
  }
  return 0;
}

export interface Known {
  /** Tokens of the prompt that may be reused at most: all but those whose logits are wanted. */
  readonly most: number;
  readonly reused: number;
  readonly fromDisk: boolean;
  /** Tokens shared with the earlier prompt that shares most. */
  readonly shared: number;
  readonly differs: Miss['differs'] | null;
}

export function explainMiss({ most, reused, fromDisk, shared, differs }: Known): Miss | null {
  if (reused >= most) return null;
  const reason = (): MissReason => {
    if (shared === 0 && reused === 0) return 'new';
    if (Math.min(shared, most) - reused >= PAGE_POSITIONS) return 'forgotten';
    if (differs) return 'changed';
    const partOfBlock = fromDisk && most - reused < PAGE_POSITIONS;
    return partOfBlock || shared > reused ? 'part-of-block' : 'longer';
  };
  return { reason: reason(), position: reused, ...(differs && { differs }) };
}
