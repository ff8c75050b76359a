/**
 * SentencePiece-style merges (`tokenizer.ggml.model` "llama"): any two neighbours that together are a piece may
 * merge, the piece with the best score first.
 */
import type { MergeTable } from './merge-table.ts';
import type { PieceIndex } from './vocabulary.ts';

/** `scores[id]` must be finite. Equal scores share a rank, so that position decides between them. */
export function sentencePieceMerges(index: PieceIndex, scores: ArrayLike<number>): MergeTable {
  const size = scores.length;
  const order = Float64Array.from({ length: size }, (_, id) => -scores[id]!).sort();
  let distinct = 0;
  for (let i = 0; i < size; i++) {
    if (i === 0 || order[i] !== order[distinct - 1]) order[distinct++] = order[i]!;
  }
  const rankOf = new Map<number, number>();
  for (let rank = 0; rank < distinct; rank++) rankOf.set(order[rank]!, rank);
  return {
    find: (_left, _right, bytes, start, end) => index.find(bytes, start, end),
    ranks: Int32Array.from({ length: size }, (_, id) => rankOf.get(-scores[id]!) ?? 0),
    results: Int32Array.from({ length: size }, (_, id) => id),
  };
}
