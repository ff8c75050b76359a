/** Key-value metadata of a GGUF file: parsed under limits, read through accessors that check the type. */
import type { GgufCursor } from './gguf-cursor.ts';
import { GgufError, quoted } from './gguf-error.ts';

/** Absolute limits. The largest Gemma 3 file has about 60 keys, 1,250 tensors and 514,906 merges. */
export const GGUF_LIMITS = {
  keys: 4096,
  tensors: 4096,
  keyBytes: 256,
  stringBytes: 1 << 20,
  /** Strings inside arrays: vocabulary pieces and merges. */
  elementBytes: 1024,
  arrayElements: 1 << 20,
  /** Everything before the tensor data. */
  headerBytes: 1 << 27,
} as const;

/** Value types by their number in the file. */
const VALUE_TYPES = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const;
export type GgufScalarType = Exclude<(typeof VALUE_TYPES)[number], 'array'>;

/** Bytes an element takes at least (strings carry an eight-byte length). */
const MINIMUM_BYTES: Record<GgufScalarType, number> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  u64: 8,
  i64: 8,
  f64: 8,
};

/** Many strings as they stand in the file: one block of bytes, string `i` is `[offsets[i], offsets[i + 1])`. */
export class PackedStrings {
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;

  constructor(bytes: Uint8Array, offsets: Uint32Array) {
    this.bytes = bytes;
    this.offsets = offsets;
  }

  get length(): number {
    return this.offsets.length - 1;
  }

  /** Bytes of string `index`; a view, not a copy. Throws RangeError outside [0, length). */
  at(index: number): Uint8Array {
    if (!(index >= 0 && index < this.length)) throw new RangeError(`No string ${index} of ${this.length}`);
    return this.bytes.subarray(this.offsets[index]!, this.offsets[index + 1]!);
  }

  /** String `index` as text; invalid UTF-8 becomes U+FFFD. */
  text(index: number): string {
    return Buffer.from(this.at(index)).toString('utf8');
  }

  static from(texts: readonly (string | Uint8Array)[]): PackedStrings {
    const parts = texts.map((t) => (typeof t === 'string' ? Buffer.from(t, 'utf8') : t));
    const offsets = new Uint32Array(parts.length + 1);
    for (const [i, part] of parts.entries()) offsets[i + 1] = offsets[i]! + part.length;
    return new PackedStrings(new Uint8Array(Buffer.concat(parts)), offsets);
  }
}

export type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

export type GgufValue =
  | { readonly kind: 'integer'; readonly type: GgufScalarType; readonly value: number }
  | { readonly kind: 'float'; readonly type: GgufScalarType; readonly value: number }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'strings'; readonly value: PackedStrings }
  | { readonly kind: 'integers'; readonly type: GgufScalarType; readonly value: NumberArray }
  | { readonly kind: 'floats'; readonly type: GgufScalarType; readonly value: NumberArray }
  | { readonly kind: 'booleans'; readonly value: Uint8Array };

interface Entry {
  readonly value: GgufValue;
  readonly byteOffset: number;
}

const KIND_NAMES: Record<GgufValue['kind'], string> = {
  integer: 'an integer',
  float: 'a float',
  boolean: 'a boolean',
  string: 'a string',
  strings: 'an array of strings',
  integers: 'an array of integers',
  floats: 'an array of floats',
  booleans: 'an array of booleans',
};

/** The metadata of one file. Accessors throw {@link GgufError} that names the key. */
export class GgufMetadata {
  readonly #entries: ReadonlyMap<string, Entry>;

  constructor(entries: ReadonlyMap<string, Entry>) {
    this.#entries = entries;
  }

  keys(): string[] {
    return [...this.#entries.keys()];
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  get(key: string): GgufValue | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Where the value of `key` stands in the file; 0 if it is absent. */
  byteOffset(key: string): number {
    return this.#entries.get(key)?.byteOffset ?? 0;
  }

  #expect<K extends GgufValue['kind']>(key: string, kind: K): Extract<GgufValue, { kind: K }> {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      throw new GgufError('missing', key, 0, `The file has no metadata key ${key}, which is needed.`);
    }
    if (entry.value.kind !== kind) {
      throw new GgufError(
        'invalid',
        key,
        entry.byteOffset,
        `${key} is ${KIND_NAMES[entry.value.kind]}, not ${KIND_NAMES[kind]} (byte ${entry.byteOffset}).`,
      );
    }
    return entry.value as Extract<GgufValue, { kind: K }>;
  }

  /** A non-negative integer of any width. */
  unsigned(key: string): number {
    const { value } = this.#expect(key, 'integer');
    if (value < 0) {
      const at = this.byteOffset(key);
      throw new GgufError('invalid', key, at, `${key} is ${value}, but cannot be negative (byte ${at}).`);
    }
    return value;
  }
  /** A finite float of either width. */
  float(key: string): number {
    const { value } = this.#expect(key, 'float');
    if (!Number.isFinite(value)) {
      const at = this.byteOffset(key);
      throw new GgufError('invalid', key, at, `${key} is ${value}, not a finite number (byte ${at}).`);
    }
    return value;
  }
  boolean(key: string): boolean {
    return this.#expect(key, 'boolean').value;
  }
  string(key: string): string {
    return this.#expect(key, 'string').value;
  }
  strings(key: string): PackedStrings {
    return this.#expect(key, 'strings').value;
  }
  integers(key: string): NumberArray {
    return this.#expect(key, 'integers').value;
  }
  floats(key: string): NumberArray {
    return this.#expect(key, 'floats').value;
  }
  booleans(key: string): boolean[] {
    return Array.from(this.#expect(key, 'booleans').value, (b) => b !== 0);
  }

  /** Each `optional…` accessor is `undefined` for an absent key, and still throws for a wrong type. */
  optionalUnsigned(key: string): number | undefined {
    return this.has(key) ? this.unsigned(key) : undefined;
  }
  optionalFloat(key: string): number | undefined {
    return this.has(key) ? this.float(key) : undefined;
  }
  optionalBoolean(key: string): boolean | undefined {
    return this.has(key) ? this.boolean(key) : undefined;
  }
  optionalString(key: string): string | undefined {
    return this.has(key) ? this.string(key) : undefined;
  }
}

/** Reads `count` key-value pairs. */
export function readMetadata(cursor: GgufCursor, count: number): GgufMetadata {
  const entries = new Map<string, Entry>();
  for (let i = 0; i < count; i++) {
    const keyOffset = cursor.position;
    const key = cursor.string(`key ${i}`, GGUF_LIMITS.keyBytes);
    const shown = quoted(key).slice(1, -1);
    if (key === '' || entries.has(key)) {
      throw new GgufError(
        'invalid',
        shown,
        keyOffset,
        `Metadata key ${i} ${key === '' ? 'is empty' : `repeats ${quoted(key)}`} (byte ${keyOffset}).`,
      );
    }
    const type = readType(cursor, shown);
    const byteOffset = cursor.position;
    const value = type === 'array' ? readArray(cursor, shown) : readScalar(cursor, type, shown);
    entries.set(key, { value, byteOffset });
  }
  return new GgufMetadata(entries);
}

function readType(cursor: GgufCursor, key: string): GgufScalarType | 'array' {
  const at = cursor.position;
  const id = cursor.u32(key);
  const type = VALUE_TYPES[id];
  if (type === undefined) {
    throw new GgufError('invalid', key, at, `${key} has the unknown value type ${id} (byte ${at}).`);
  }
  return type;
}

function readScalar(cursor: GgufCursor, type: GgufScalarType, key: string): GgufValue {
  switch (type) {
    case 'bool':
      return { kind: 'boolean', value: readBoolean(cursor, key) === 1 };
    case 'string':
      return { kind: 'string', value: cursor.string(key, GGUF_LIMITS.stringBytes) };
    case 'f32':
    case 'f64':
      return { kind: 'float', type, value: cursor[type](key) };
    default:
      return { kind: 'integer', type, value: cursor[type](key) };
  }
}

function readBoolean(cursor: GgufCursor, key: string): number {
  const at = cursor.position;
  const value = cursor.u8(key);
  if (value > 1) {
    throw new GgufError('invalid', key, at, `${key} is ${value}, not a boolean (byte ${at}).`);
  }
  return value;
}

function readArray(cursor: GgufCursor, key: string): GgufValue {
  const at = cursor.position;
  const type = readType(cursor, key);
  if (type === 'array') {
    throw new GgufError(
      'invalid',
      key,
      at,
      `${key} is an array of arrays, which is not allowed (byte ${at}).`,
    );
  }
  const count = cursor.length(key, GGUF_LIMITS.arrayElements, 'elements');
  cursor.require(count * MINIMUM_BYTES[type], key);
  switch (type) {
    case 'string':
      return { kind: 'strings', value: readStrings(cursor, count, key) };
    case 'bool': {
      const value = new Uint8Array(count);
      for (let i = 0; i < count; i++) value[i] = readBoolean(cursor, key);
      return { kind: 'booleans', value };
    }
    case 'f32':
    case 'f64': {
      const value = type === 'f32' ? new Float32Array(count) : new Float64Array(count);
      for (let i = 0; i < count; i++) value[i] = cursor[type](key);
      return { kind: 'floats', type, value };
    }
    default: {
      const value = integerArray(type, count);
      for (let i = 0; i < count; i++) value[i] = cursor[type](key);
      return { kind: 'integers', type, value };
    }
  }
}

function integerArray(
  type: Exclude<GgufScalarType, 'bool' | 'string' | 'f32' | 'f64'>,
  count: number,
): NumberArray {
  switch (type) {
    case 'u8':
      return new Uint8Array(count);
    case 'i8':
      return new Int8Array(count);
    case 'u16':
      return new Uint16Array(count);
    case 'i16':
      return new Int16Array(count);
    case 'u32':
      return new Uint32Array(count);
    case 'i32':
      return new Int32Array(count);
    case 'u64':
    case 'i64':
      // Values are limited to 2^53 by the cursor.
      return new Float64Array(count);
  }
}

function readStrings(cursor: GgufCursor, count: number, key: string): PackedStrings {
  const offsets = new Uint32Array(count + 1);
  let bytes = new Uint8Array(Math.max(1024, count * 12));
  let used = 0;
  for (let i = 0; i < count; i++) {
    const at = cursor.position;
    const length = cursor.u64(key);
    if (length > GGUF_LIMITS.elementBytes) {
      throw new GgufError(
        'invalid',
        key,
        at,
        `${key}[${i}] declares ${length} bytes at byte ${at}; the limit is ${GGUF_LIMITS.elementBytes}. The file is damaged or hostile.`,
      );
    }
    cursor.require(length, key);
    if (used + length > bytes.length) {
      const larger = new Uint8Array(bytes.length * 2);
      larger.set(bytes);
      bytes = larger;
    }
    cursor.copy(bytes, used, length, key);
    used += length;
    offsets[i + 1] = used;
  }
  return new PackedStrings(bytes.slice(0, used), offsets);
}
