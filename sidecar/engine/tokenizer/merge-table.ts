/** Which two neighbouring symbols may become one piece, and in what order. */

export interface MergeTable {
  /**
   * Index of the merge of two neighbours that together are `bytes[start, end)`, or -1.
   * `left` and `right` are their piece ids (-1 for characters outside the vocabulary).
   */
  find(left: number, right: number, bytes: Uint8Array, start: number, end: number): number;
  /** By merge index: the lowest rank is merged first; among equals, the leftmost pair. */
  readonly ranks: Int32Array;
  /** By merge index: the piece that the merge makes. */
  readonly results: Int32Array;
}
