/**
 * When the journal of changes is folded back into the head. Carrying it costs what later edits re-read of it, room, and a
 * model that sees old text above new; folding costs reading the head again from the first changed file on.
 */

export interface JournalCost {
  readonly headTokens: number;
  readonly journalTokens: number;
  /** Journal tokens that were read since the head was laid out. */
  readonly spent: number;
  /** Tokens to read if it is folded now. */
  readonly foldTokens: number;
  /** Tokens that head and journal may take. */
  readonly room: number;
}

/** A journal larger than this share of the head is more than a model can be asked to keep apart. */
const MOST_OF_HEAD = 1 / 4;
/** Too small to matter. */
const NEGLIGIBLE = 256;

export function shouldFold({ headTokens, journalTokens, spent, foldTokens, room }: JournalCost): boolean {
  if (headTokens + journalTokens > room) return true;
  if (journalTokens <= NEGLIGIBLE) return false;
  if (journalTokens > headTokens * MOST_OF_HEAD) return true;
  // Rent until the rent paid equals the price: never more than twice what one who knew the future would pay.
  return spent >= foldTokens;
}
