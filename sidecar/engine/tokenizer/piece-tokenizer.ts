/** The tokenizer itself: literal pieces first, then words, each merged from its characters. */
import { PackedStrings } from '../model/gguf-metadata.ts';
import type { MergeTable } from './merge-table.ts';
import { type LiteralMatcher, literalMatchers } from './special-pieces.ts';
import { streamDecoder } from './stream-decoder.ts';
import type { EncodeOptions, SpecialIds, StreamDecoder, Tokenizer } from './tokenizer.ts';
import { PIECE_TYPE, type PieceIndex, type Vocabulary } from './vocabulary.ts';
import { CACHED_WORD_BYTES, WordCache } from './word-cache.ts';
import { IdBuffer, WordMerger } from './word-merger.ts';

export interface PieceTokenizerOptions {
  readonly vocabulary: Vocabulary;
  /** Over the pieces that merging can make. */
  readonly index: PieceIndex;
  readonly merges: MergeTable;
  readonly special: SpecialIds;
  /** Text after a control piece, or at the start, gets a space before it (never in Gemma's own vocabularies). */
  readonly addSpacePrefix: boolean;
  /** Runs of newlines stand alone, and are one piece where the vocabulary has it (byte-pair vocabularies). */
  readonly separateNewlines: boolean;
}

const SPACE = 0x20;
const NEWLINE = 0x0a;
/** UTF-8 of U+2581, which stands for a space inside pieces. */
const MARK = [0xe2, 0x96, 0x81] as const;

export class PieceTokenizer implements Tokenizer {
  readonly size: number;
  readonly special: SpecialIds;
  readonly #options: PieceTokenizerOptions;
  readonly #literals: { readonly text: LiteralMatcher; readonly token: LiteralMatcher };
  /** What each id decodes to. */
  readonly #texts: PackedStrings;
  readonly #joins: Uint8Array;
  readonly #merger: WordMerger;
  readonly #cache = new WordCache();
  #word = new Uint8Array(256);

  constructor(options: PieceTokenizerOptions) {
    const { vocabulary, index, merges, special } = options;
    this.#options = options;
    this.size = vocabulary.size;
    this.special = special;
    this.#texts = decodedPieces(vocabulary);
    this.#literals = literalMatchers(this.#texts, vocabulary.types);
    this.#joins = joinedBytes(vocabulary, this.#texts);
    if (options.separateNewlines) separateNewlines(this.#joins);
    this.#merger = new WordMerger(vocabulary, index, merges);
  }

  encode(text: string, options: EncodeOptions = {}): Uint32Array {
    const literals = this.#literals[options.control ?? 'text'];
    const bytes = Buffer.from(text, 'utf8');
    const out = new IdBuffer();
    const joins = this.#joins;
    let wordStart = 0;
    let prefix = this.#options.addSpacePrefix;
    let previous = 0;
    for (let at = 0; at < bytes.length; ) {
      const byte = bytes[at]!;
      if (literals.startsWith(byte)) {
        const length = literals.match(bytes, at);
        if (length > 0) {
          if (at > wordStart) this.#appendWord(bytes, wordStart, at, prefix, out);
          out.push(literals.found);
          at += length;
          wordStart = at;
          prefix = this.#options.addSpacePrefix;
          continue;
        }
      }
      // A word ends between two characters that no piece has side by side: no merge can cross that place.
      if (at > wordStart && (byte & 0xc0) !== 0x80 && joins[(previous << 8) | byte] === 0) {
        this.#appendWord(bytes, wordStart, at, prefix, out);
        wordStart = at;
        prefix = false;
      }
      previous = byte;
      at++;
    }
    if (bytes.length > wordStart) this.#appendWord(bytes, wordStart, bytes.length, prefix, out);
    return out.take();
  }

  #appendWord(bytes: Uint8Array, start: number, end: number, prefix: boolean, out: IdBuffer): void {
    const cached = !prefix && end - start <= CACHED_WORD_BYTES;
    if (cached && this.#cache.append(bytes, start, end, out)) return;
    const from = out.length;
    if (!this.#appendNewlines(bytes, start, end, out)) {
      const length = this.#escape(bytes, start, end, prefix);
      this.#merger.append(this.#word, length, out);
    }
    if (cached) this.#cache.keep(bytes, start, end, out, from);
  }

  #appendNewlines(bytes: Uint8Array, start: number, end: number, out: IdBuffer): boolean {
    if (!this.#options.separateNewlines || bytes[start] !== NEWLINE) return false;
    const id = this.#options.index.find(bytes, start, end);
    if (id >= 0) out.push(id);
    return id >= 0;
  }

  /** Copies the word into `#word` (which may be replaced) with spaces written as U+2581; returns its length. */
  #escape(bytes: Uint8Array, start: number, end: number, prefix: boolean): number {
    const longest = 3 * (end - start + 1);
    if (this.#word.length < longest) this.#word = new Uint8Array(longest * 2);
    const word = this.#word;
    let length = 0;
    if (prefix) for (const byte of MARK) word[length++] = byte;
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!;
      if (byte === SPACE) {
        word[length++] = MARK[0];
        word[length++] = MARK[1];
        word[length++] = MARK[2];
      } else {
        word[length++] = byte;
      }
    }
    return length;
  }

  decode(ids: ArrayLike<number>): string {
    let total = 0;
    for (let i = 0; i < ids.length; i++) total += this.#bytesOf(ids[i]!).length;
    const bytes = Buffer.allocUnsafe(total);
    let length = 0;
    for (let i = 0; i < ids.length; i++) {
      const piece = this.#bytesOf(ids[i]!);
      bytes.set(piece, length);
      length += piece.length;
    }
    const text = bytes.toString('utf8');
    return this.#options.addSpacePrefix && text.startsWith(' ') ? text.slice(1) : text;
  }

  decoder(): StreamDecoder {
    return streamDecoder((id) => this.#bytesOf(id));
  }

  piece(id: number): string {
    this.#check(id);
    return this.#options.vocabulary.pieces.text(id);
  }

  #bytesOf(id: number): Uint8Array {
    this.#check(id);
    return this.#texts.at(id);
  }

  #check(id: number): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.size) {
      throw new RangeError(`Token id ${id} is outside the vocabulary of ${this.size} pieces.`);
    }
  }
}

/** Every piece as the bytes it decodes to: U+2581 becomes a space, "<0x0A>" the byte, control pieces stay. */
function decodedPieces({ pieces, types, size }: Vocabulary): PackedStrings {
  const bytes = new Uint8Array(pieces.bytes.length);
  const offsets = new Uint32Array(size + 1);
  let length = 0;
  for (let id = 0; id < size; id++) {
    const type = types[id];
    const end = pieces.offsets[id + 1]!;
    if (type === PIECE_TYPE.byte) {
      const digits = pieces.text(id).slice(3, 5);
      bytes[length++] = Number.parseInt(digits, 16);
    } else {
      const verbatim = type === PIECE_TYPE.control || type === PIECE_TYPE.unknown;
      for (let i = pieces.offsets[id]!; i < end; i++) {
        const isMark =
          !verbatim &&
          i + 2 < end &&
          pieces.bytes[i] === MARK[0] &&
          pieces.bytes[i + 1] === MARK[1] &&
          pieces.bytes[i + 2] === MARK[2];
        bytes[length++] = isMark ? SPACE : pieces.bytes[i]!;
        if (isMark) i += 2;
      }
    }
    offsets[id + 1] = length;
  }
  return new PackedStrings(bytes.slice(0, length), offsets);
}

/**
 * `[last byte of a character << 8 | first byte of the next]` is 1 where some piece has the two characters side by
 * side. Pieces count both as in the file and with spaces, since text may hold U+2581 itself.
 */
function joinedBytes(vocabulary: Vocabulary, texts: PackedStrings): Uint8Array {
  const joins = new Uint8Array(0x10000);
  for (const strings of [vocabulary.pieces, texts]) {
    for (let id = 0; id < vocabulary.size; id++) {
      const end = strings.offsets[id + 1]!;
      for (let i = strings.offsets[id]! + 1; i < end; i++) {
        const byte = strings.bytes[i]!;
        if ((byte & 0xc0) !== 0x80) joins[(strings.bytes[i - 1]! << 8) | byte] = 1;
      }
    }
  }
  // Text may also mix the two: a space beside U+2581 is two marks once spaces are escaped.
  if (joins[(MARK[2] << 8) | MARK[0]] === 1) {
    joins[(MARK[2] << 8) | SPACE] = 1;
    joins[(SPACE << 8) | MARK[0]] = 1;
  }
  return joins;
}

function separateNewlines(joins: Uint8Array): void {
  for (let byte = 0; byte < 256; byte++) {
    joins[(NEWLINE << 8) | byte] = 0;
    joins[(byte << 8) | NEWLINE] = 0;
  }
  joins[(NEWLINE << 8) | NEWLINE] = 1;
}
