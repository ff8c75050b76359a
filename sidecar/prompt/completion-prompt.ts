/** What stands around the cursor, as token ids: fill-in-the-middle where the vocabulary has the pieces, else the text before. */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { fileBlock, type PromptFile } from './file-block.ts';

export interface CompletionPrompt {
  readonly ids: Uint32Array;
  readonly stopIds: readonly number[];
  /** False if the model sees only what precedes the cursor. */
  readonly seesSuffix: boolean;
}

/** Share of the budget that parts of other files may take. */
const CONTEXT_SHARE = 1 / 4;

/**
 * Cuts far text on whole lines so that at most `budget` ids are produced; what is near the cursor matters most. Parts of
 * other files, best first, go before it as far as they fit, where there are pieces to tell them apart.
 */
export function completionPrompt(
  tokenizer: Tokenizer,
  prefix: string,
  suffix: string,
  budget: number,
  files: readonly PromptFile[] = [],
): CompletionPrompt {
  const { bos, eos, endOfTurn, fim } = tokenizer.special;
  if (fim === null) {
    return {
      ids: Uint32Array.from([bos, ...encodeTail(tokenizer, prefix, budget - 1)]),
      stopIds: [eos, endOfTurn],
      seesSuffix: false,
    };
  }
  const context = encodeFiles(tokenizer, files, Math.floor(budget * CONTEXT_SHARE));
  const room = budget - 4 - context.length;
  const after = encodeHead(tokenizer, suffix, Math.floor(room / 4));
  const before = encodeTail(tokenizer, prefix, room - after.length);
  return {
    ids: Uint32Array.from([bos, ...context, fim.prefix, ...before, fim.suffix, ...after, fim.middle]),
    stopIds: [eos, endOfTurn, fim.prefix, fim.suffix, fim.middle],
    seesSuffix: true,
  };
}

function encodeFiles(tokenizer: Tokenizer, files: readonly PromptFile[], budget: number): number[] {
  const ids: number[] = [];
  for (const file of files) {
    const block = tokenizer.encode(`${fileBlock(file)}\n\n`);
    if (ids.length + block.length <= budget) ids.push(...block);
  }
  return ids;
}

/** Longest run of whole lines at the end of `text` that fits; a single line too long keeps its last ids. */
function encodeTail(tokenizer: Tokenizer, text: string, budget: number): Uint32Array {
  const lines = text.split(/(?<=\n)/);
  let first = lines.length;
  let estimate = 0;
  // A token is at least one UTF-16 unit of text in nearly every vocabulary, so this never takes too little.
  while (first > 0 && estimate < budget * 8) estimate += lines[--first]!.length;
  for (;;) {
    const ids = tokenizer.encode(lines.slice(first).join(''));
    if (ids.length <= budget) return ids;
    if (first >= lines.length - 1) return ids.subarray(ids.length - Math.max(0, budget));
    first += Math.max(1, Math.floor(((lines.length - first) * (ids.length - budget)) / ids.length / 2));
    first = Math.min(first, lines.length - 1);
  }
}

function encodeHead(tokenizer: Tokenizer, text: string, budget: number): Uint32Array {
  const lines = text.slice(0, budget * 8).split(/(?<=\n)/);
  let count = lines.length;
  for (;;) {
    const ids = tokenizer.encode(lines.slice(0, count).join(''));
    if (ids.length <= budget) return ids;
    if (count <= 1) return ids.subarray(0, Math.max(0, budget));
    count = Math.max(1, count - Math.max(1, Math.floor((count * (ids.length - budget)) / ids.length / 2)));
  }
}
