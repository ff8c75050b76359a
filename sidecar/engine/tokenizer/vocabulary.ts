/** The pieces of a vocabulary and a hash index over their bytes. */
import { GgufError } from '../model/gguf-error.ts';
import type { PackedStrings } from '../model/gguf-metadata.ts';

/** Token types by their number in the file. */
export const PIECE_TYPE = {
  undefined: 0,
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

export interface Vocabulary {
  /** Number of ids; pieces may be empty. */
  readonly size: number;
  /** As in the file; a space inside a word piece is U+2581. */
  readonly pieces: PackedStrings;
  /** {@link PIECE_TYPE} of each id. */
  readonly types: Uint8Array;
  /** Id of the piece for each byte value, or that of the unknown piece. */
  readonly byteIds: Int32Array;
}

/** FNV-1a. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return h ^ (h >>> 15);
}

/** A table at most half full needs a handful of probes; this many means that pieces were made to collide. */
const PROBE_LIMIT = 4096;

/** Finds a piece by its bytes without making a string. Of several equal pieces the last wins, as in llama.cpp. */
export class PieceIndex {
  readonly #bytes: Uint8Array;
  readonly #offsets: Uint32Array;
  readonly #slots: Int32Array;
  readonly #mask: number;
  #longest = 0;

  /** Indexes the non-empty pieces for which `include` holds. */
  constructor(pieces: PackedStrings, include: (id: number) => boolean) {
    this.#bytes = pieces.bytes;
    this.#offsets = pieces.offsets;
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(16, pieces.length * 2)));
    this.#slots = new Int32Array(capacity).fill(-1);
    this.#mask = capacity - 1;
    for (let id = 0; id < pieces.length; id++) {
      if (this.#offsets[id] !== this.#offsets[id + 1] && include(id)) this.#insert(id);
    }
  }

  #insert(id: number): void {
    const start = this.#offsets[id]!;
    const end = this.#offsets[id + 1]!;
    let slot = hash(this.#bytes, start, end) & this.#mask;
    for (let probe = 0; ; probe++) {
      const other = this.#slots[slot]!;
      if (other < 0 || this.#equals(other, this.#bytes, start, end)) break;
      if (probe === PROBE_LIMIT) {
        throw new GgufError(
          'invalid',
          'tokenizer.ggml.tokens',
          0,
          `tokenizer.ggml.tokens: too many pieces collide with piece ${id}. The file is hostile.`,
        );
      }
      slot = (slot + 1) & this.#mask;
    }
    this.#slots[slot] = id;
    this.#longest = Math.max(this.#longest, end - start);
  }

  #equals(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    const from = this.#offsets[id]!;
    const length = end - start;
    if (this.#offsets[id + 1]! - from !== length) return false;
    for (let i = 0; i < length; i++) if (this.#bytes[from + i] !== bytes[start + i]) return false;
    return true;
  }

  /** Id of the piece `bytes[start, end)`, or -1. */
  find(bytes: Uint8Array, start: number, end: number): number {
    if (end - start > this.#longest) return -1;
    let slot = hash(bytes, start, end) & this.#mask;
    for (;;) {
      const id = this.#slots[slot]!;
      if (id < 0 || this.#equals(id, bytes, start, end)) return id;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** Id of the piece `text`, or -1. */
  findText(text: string): number {
    const bytes = Buffer.from(text, 'utf8');
    return this.find(bytes, 0, bytes.length);
  }
}
