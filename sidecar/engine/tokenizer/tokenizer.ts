/** Text to token ids and back, as the model file's own vocabulary says. */

/** Ids of the pieces that structure a prompt. FIM pieces exist only in vocabularies trained with them. */
export interface SpecialIds {
  readonly bos: number;
  readonly eos: number;
  readonly unknown: number;
  readonly pad: number;
  readonly startOfTurn: number;
  readonly endOfTurn: number;
  readonly startOfImage: number | null;
  readonly endOfImage: number | null;
  readonly fim: { readonly prefix: number; readonly suffix: number; readonly middle: number } | null;
}

export interface EncodeOptions {
  /**
   * Whether the text of a CONTROL piece (such as "<end_of_turn>") becomes that piece or stays plain text. The
   * default is 'text': files and questions must not be able to forge the structure of a prompt. USER_DEFINED
   * pieces (runs of white space, HTML tags) are always matched.
   */
  readonly control?: 'text' | 'token';
}

export interface Tokenizer {
  /** Number of ids, as many as the embedding has rows. */
  readonly size: number;
  readonly special: SpecialIds;
  /** No BOS is added. Lone surrogates become U+FFFD. */
  encode(text: string, options?: EncodeOptions): Uint32Array;
  /** Exact inverse of `encode` for valid text. Control pieces are written out as their text. */
  decode(ids: ArrayLike<number>): string;
  /** Decodes a stream; never emits half a character. */
  decoder(): StreamDecoder;
  /** Text of one piece, for a person (bytes as "<0x0A>"). */
  piece(id: number): string;
}

export interface StreamDecoder {
  /** Text that is certain after this id; may be empty. */
  push(id: number): string;
  /** What was held back; incomplete bytes become U+FFFD. */
  end(): string;
}
