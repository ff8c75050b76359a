/**
 * Gemma 3's literal pieces: which they are, whatever the file's token types say, and how text is searched for them.
 *
 * Files in the wild carry wrong types (Google's first QAT upload, Ollama's blobs, fine-tune exports). A control
 * piece that is typed NORMAL splits prompts into text; a run of spaces that is not literal changes every indented
 * line. So the types of Gemma's own pieces come from here.
 */
import type { PackedStrings } from '../model/gguf-metadata.ts';
import { PIECE_TYPE } from './vocabulary.ts';

/** Control pieces of Gemma 3 (ids 0-3, 105, 106, 255999, 256000), by text so that any vocabulary may hold them. */
const CONTROL_TEXTS: ReadonlySet<string> = new Set([
  '<pad>',
  '<eos>',
  '<bos>',
  '<unk>',
  '<start_of_turn>',
  '<end_of_turn>',
  '<start_of_image>',
  '<end_of_image>',
]);

const START_OF_TURN = 105;
const END_OF_TURN = 106;
const LONGEST_RUN = 31;

const HTML_TAGS = [
  ...['table', 'caption', 'thead', 'tbody', 'tfoot', 'tr', 'th', 'td'],
  ...['/table', '/caption', '/thead', '/tbody', '/tfoot', '/tr', '/th', '/td'],
  ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'blockquote'],
  ...['/h1', '/h2', '/h3', '/h4', '/h5', '/h6', '/blockquote'],
  ...['strong', 'em', 'b', 'i', 'u', 's', 'sub', 'sup', 'code'],
  ...['/strong', '/em', '/b', '/i', '/u', '/s', '/sub', '/sup', '/code'],
  ...['a', 'html', 'body', 'img', 'span', 'bbox', 'ul', 'li', 'div', 'iframe', 'footer'],
  ...['/a', '/html', '/body', '/img', '/span', '/bbox', '/ul', '/li', '/div', '/iframe', '/footer'],
];

/** Gemma 3's user-defined pieces with their ids. */
function* userDefinedPieces(): Generator<readonly [id: number, text: string]> {
  for (let n = 1; n <= LONGEST_RUN; n++) yield [107 + n - 1, '\n'.repeat(n)];
  for (let n = 2; n <= LONGEST_RUN; n++) yield [138 + n - 2, ' '.repeat(n)];
  for (const [i, tag] of HTML_TAGS.entries()) yield [168 + i, `<${tag}>`];
  for (let n = 1; n <= LONGEST_RUN; n++) yield [255968 + n - 1, '\t'.repeat(n)];
}

function unescaped(text: string): string {
  return text.replaceAll('\u2581', ' ');
}

/**
 * Corrects `types` in place. Control pieces are known by text alone. User-defined pieces are only changed where
 * both turn pieces stand at Gemma 3's ids and the piece itself has its text, so other vocabularies keep theirs.
 */
export function correctTypes(pieces: PackedStrings, types: Uint8Array): void {
  for (let id = 0; id < pieces.length; id++) {
    // '<' first: of 262,144 pieces few need to become a string.
    const start = pieces.offsets[id]!;
    if (pieces.bytes[start] !== 0x3c || pieces.offsets[id + 1]! - start > 20) continue;
    if (types[id] !== PIECE_TYPE.unknown && CONTROL_TEXTS.has(pieces.text(id)))
      types[id] = PIECE_TYPE.control;
  }
  if (pieces.length <= END_OF_TURN) return;
  if (pieces.text(START_OF_TURN) !== '<start_of_turn>' || pieces.text(END_OF_TURN) !== '<end_of_turn>')
    return;
  for (const [id, text] of userDefinedPieces()) {
    if (id < pieces.length && unescaped(pieces.text(id)) === text) types[id] = PIECE_TYPE.userDefined;
  }
}

/**
 * Finds literal pieces in text: at each place the longest one that starts there.
 *
 * llama.cpp instead removes all occurrences of the longest piece first, then of the next; SentencePiece does as
 * here. The two differ only where one piece ends as another begins, which none of Gemma's do except runs of one
 * character, where both give the same.
 */
export class LiteralMatcher {
  /** A trie: for every first byte a node; nodes hold a byte, the piece that ends there, first child, next sibling. */
  readonly #roots = new Int32Array(256).fill(-1);
  readonly #byte: number[] = [];
  readonly #piece: number[] = [];
  readonly #child: number[] = [];
  readonly #sibling: number[] = [];
  /** The piece that the last successful `match` found. */
  found = 0;

  add(text: Uint8Array, id: number): void {
    if (text.length === 0) return;
    let node = this.#roots[text[0]!]!;
    if (node < 0) {
      node = this.#node(text[0]!);
      this.#roots[text[0]!] = node;
    }
    for (const byte of text.subarray(1)) {
      let child = this.#child[node]!;
      while (child >= 0 && this.#byte[child] !== byte) child = this.#sibling[child]!;
      if (child < 0) {
        child = this.#node(byte);
        this.#sibling[child] = this.#child[node]!;
        this.#child[node] = child;
      }
      node = child;
    }
    this.#piece[node] = id;
  }

  #node(byte: number): number {
    this.#piece.push(-1);
    this.#child.push(-1);
    this.#sibling.push(-1);
    return this.#byte.push(byte) - 1;
  }

  startsWith(byte: number): boolean {
    return this.#roots[byte]! >= 0;
  }

  /** Length in bytes of the longest piece at `bytes[at]`, or 0; sets `found`. */
  match(bytes: Uint8Array, at: number): number {
    let node = this.#roots[bytes[at]!]!;
    let length = 0;
    for (let end = at + 1; node >= 0; end++) {
      if (this.#piece[node]! >= 0) {
        length = end - at;
        this.found = this.#piece[node]!;
      }
      if (end === bytes.length) break;
      node = this.#child[node]!;
      while (node >= 0 && this.#byte[node] !== bytes[end]) node = this.#sibling[node]!;
    }
    return length;
  }
}

/** Matchers for the two settings of `EncodeOptions.control`. */
export function literalMatchers(
  texts: PackedStrings,
  types: Uint8Array,
): { readonly text: LiteralMatcher; readonly token: LiteralMatcher } {
  const text = new LiteralMatcher();
  const token = new LiteralMatcher();
  for (let id = 0; id < texts.length; id++) {
    const type = types[id];
    if (type === PIECE_TYPE.userDefined) {
      text.add(texts.at(id), id);
      token.add(texts.at(id), id);
    } else if (type === PIECE_TYPE.control || type === PIECE_TYPE.unknown) {
      token.add(texts.at(id), id);
    }
  }
  return { text, token };
}
