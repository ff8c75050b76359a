/** How a context of a given length is divided, and the error for what does not fit. Nothing is ever cut silently. */

/** Something to take away so that a question fits. */
export interface DropOffer {
  readonly kind: 'turns' | 'attachment' | 'mention' | 'pin' | 'image';
  /** For turns, how many; otherwise the path or name. */
  readonly name: string;
  readonly tokens: number;
}

/** The question, with what must go along with it, does not fit the model's context. */
export class ContextFullError extends Error {
  override readonly name = 'ContextFullError';
  readonly needed: number;
  readonly available: number;
  /** What could be taken away, largest first. */
  readonly offers: readonly DropOffer[];
  private readonly parts: readonly [what: string, advice: string];

  constructor(
    what: string,
    needed: number,
    available: number,
    advice: string,
    offers: readonly DropOffer[] = [],
  ) {
    super(
      `${what} ${needed.toLocaleString('en-US')} tokens, but the model's context leaves room for ` +
        `${Math.max(0, available).toLocaleString('en-US')}. ${advice}`,
    );
    this.parts = [what, advice];
    this.needed = needed;
    this.available = available;
    this.offers = [...offers].sort((a, b) => b.tokens - a.tokens);
  }

  /** The same, with something more that could be taken away. */
  offering(offer: DropOffer): ContextFullError {
    const { parts, needed, available, offers } = this;
    return new ContextFullError(parts[0], needed, available, parts[1], [...offers, offer]);
  }
}

const SMALLEST_ANSWER = 256;
const LARGEST_ANSWER = 4096;

/** Tokens kept free for the answer: an eighth of the context, within bounds that suit an answer. */
export function answerReserve(contextLength: number): number {
  const eighth = Math.floor(contextLength / 8);
  return Math.min(Math.max(SMALLEST_ANSWER, eighth), LARGEST_ANSWER, Math.floor(contextLength / 2));
}

/**
 * The most recent exchanges that fit in `available` tokens. The last turn, the question, is never dropped: if it does not fit,
 * ContextFullError says so. `turnTokens[i]` is what turn i takes; a dropped question takes its answer with it.
 */
export function fitTurns(
  turnTokens: readonly number[],
  available: number,
): { readonly first: number; readonly tokens: number } {
  let first = turnTokens.length - 1;
  let tokens = turnTokens[first] ?? 0;
  if (tokens > available) {
    throw new ContextFullError(
      'The question takes',
      tokens,
      available,
      'Shorten it, attach less, or choose a model with a longer context.',
    );
  }
  while (first >= 2) {
    const exchange = turnTokens[first - 1]! + turnTokens[first - 2]!;
    if (tokens + exchange > available) break;
    tokens += exchange;
    first -= 2;
  }
  return { first, tokens };
}
