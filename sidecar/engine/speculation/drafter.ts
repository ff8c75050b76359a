/** What proposes tokens that the model then verifies in one pass. Right or wrong, drafts never change what is generated. */
export interface Drafter {
  /**
   * Tokens that may follow `ids`, at most `most`; none where a draft would not pay. Everything proposed before has been
   * settled: `ids` holds what the model said.
   */
  propose(ids: Uint32Array, most: number, signal: AbortSignal): Uint32Array | Promise<Uint32Array>;
  /** Of the tokens proposed last, the first `accepted` were what the model said. */
  settle(accepted: number): void;
}

export const NO_DRAFT = new Uint32Array(0);
