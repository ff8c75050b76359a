/** Bounded little-endian reading of a file header: nothing is read or allocated before it is known to exist. */
import { GgufError } from './gguf-error.ts';

/** Random access to bytes: a file descriptor, or memory (tests). */
export interface ByteSource {
  readonly size: number;
  /** Fills `target[0, length)` from `position`; returns the bytes read, fewer only at the end. */
  read(target: Uint8Array, length: number, position: number): number;
}

const BLOCK_BYTES = 1 << 18;

/** A forward reader that holds one block of the file, or one item where an item is larger than a block. */
export class GgufCursor {
  readonly #source: ByteSource;
  readonly #limit: number;
  #buffer: Buffer;
  #blockStart = 0;
  #blockLength = 0;
  #position = 0;

  /** Refuses to read beyond byte `limit`. */
  constructor(source: ByteSource, limit: number) {
    this.#source = source;
    this.#limit = limit;
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, Math.max(source.size, 16)));
  }

  get position(): number {
    return this.#position;
  }

  /** Throws unless `length` more bytes exist; call before allocating for a declared count. */
  require(length: number, field: string): void {
    const need = this.#position + length;
    if (need > this.#source.size) {
      throw new GgufError(
        'incomplete',
        field,
        this.#position,
        `The file is incomplete: it has ${this.#source.size} bytes and needs at least ${need} (reading ${field} at byte ${this.#position}). Download or copy it again.`,
      );
    }
    if (need > this.#limit) {
      throw new GgufError(
        'invalid',
        field,
        this.#position,
        `The header reaches beyond its limit of ${this.#limit} bytes (reading ${field} at byte ${this.#position}).`,
      );
    }
  }

  /** Index in the block of the next `length` bytes, which are consumed. */
  #take(length: number, field: string): number {
    const at = this.#position - this.#blockStart;
    if (at + length <= this.#blockLength) {
      this.#position += length;
      return at;
    }
    this.require(length, field);
    if (length > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(length);
    const want = Math.min(this.#buffer.length, this.#source.size - this.#position);
    const got = this.#source.read(this.#buffer, want, this.#position);
    if (got < length) {
      throw new GgufError(
        'incomplete',
        field,
        this.#position,
        `The file is incomplete: it became shorter than ${this.#position + length} bytes while it was read. Is it still being downloaded?`,
      );
    }
    this.#blockStart = this.#position;
    this.#blockLength = got;
    this.#position += length;
    return 0;
  }

  u8(field: string): number {
    return this.#buffer.readUInt8(this.#take(1, field));
  }
  i8(field: string): number {
    return this.#buffer.readInt8(this.#take(1, field));
  }
  u16(field: string): number {
    return this.#buffer.readUInt16LE(this.#take(2, field));
  }
  i16(field: string): number {
    return this.#buffer.readInt16LE(this.#take(2, field));
  }
  u32(field: string): number {
    return this.#buffer.readUInt32LE(this.#take(4, field));
  }
  i32(field: string): number {
    return this.#buffer.readInt32LE(this.#take(4, field));
  }
  f32(field: string): number {
    return this.#buffer.readFloatLE(this.#take(4, field));
  }
  f64(field: string): number {
    return this.#buffer.readDoubleLE(this.#take(8, field));
  }

  /** An unsigned 64-bit integer; values that a double cannot hold exactly are refused. */
  u64(field: string): number {
    const at = this.#take(8, field);
    const high = this.#buffer.readUInt32LE(at + 4);
    if (high >= 0x200000) {
      const value = this.#buffer.readBigUInt64LE(at);
      throw new GgufError(
        'invalid',
        field,
        this.#position - 8,
        `${field} is ${value}, beyond the limit of 2^53 (byte ${this.#position - 8}). The file is damaged or hostile.`,
      );
    }
    return high * 0x100000000 + this.#buffer.readUInt32LE(at);
  }

  i64(field: string): number {
    const at = this.#take(8, field);
    const value = this.#buffer.readBigInt64LE(at);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
      throw new GgufError(
        'invalid',
        field,
        this.#position - 8,
        `${field} is ${value}, beyond the limit of 2^53 (byte ${this.#position - 8}). The file is damaged or hostile.`,
      );
    }
    return Number(value);
  }

  /** A 64-bit length, checked against `limit`, that announces `unit` (for the message). */
  length(field: string, limit: number, unit: string): number {
    const at = this.#position;
    const value = this.u64(field);
    if (value > limit) {
      throw new GgufError(
        'invalid',
        field,
        at,
        `${field} declares ${value} ${unit} at byte ${at}; the limit is ${limit}. The file is damaged or hostile.`,
      );
    }
    return value;
  }

  /** A length-prefixed string of at most `limit` bytes. */
  string(field: string, limit: number): string {
    const length = this.length(field, limit, 'bytes of text');
    if (length === 0) return '';
    const at = this.#take(length, field);
    return this.#buffer.toString('utf8', at, at + length);
  }

  /** Copies `length` bytes into `target` at `offset`. */
  copy(target: Uint8Array, offset: number, length: number, field: string): void {
    if (length === 0) return;
    const at = this.#take(length, field);
    if (length < 24) {
      // Vocabularies have 262,144 short pieces; a call per piece would cost more than the bytes.
      for (let i = 0; i < length; i++) target[offset + i] = this.#buffer[at + i]!;
    } else {
      target.set(this.#buffer.subarray(at, at + length), offset);
    }
  }
}
