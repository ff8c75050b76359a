/**
 * Writes a GGUF file (version 3) as a stream: tensors come in pieces, so memory stays bounded. The file appears
 * under its name only when it is complete and on disk.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { rowBytes, TENSOR_TYPES, type TensorType } from '../backend/tensor.ts';
import type { GgufScalarType, GgufValue, NumberArray, PackedStrings } from './gguf-metadata.ts';

export interface TensorToWrite {
  readonly name: string;
  readonly type: TensorType;
  /** Fastest-varying dimension first. */
  readonly shape: readonly number[];
  /** The bytes in order, in pieces of any size; called once, when their turn has come. */
  readonly data: () => Iterable<Uint8Array>;
}

const VERSION = 3;
const DEFAULT_ALIGNMENT = 32;
const VALUE_TYPE_IDS: Record<GgufScalarType, number> = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  u64: 10,
  i64: 11,
  f64: 12,
};
const ARRAY_ID = 9;

/**
 * Writes `path` from `metadata` and `tensors` (in that order in the file). Throws RangeError if a tensor's pieces do
 * not add up to its size, and the system's error if writing fails; then nothing is left behind.
 */
export function writeGguf(
  path: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly TensorToWrite[],
): void {
  const temporary = `${path}.${process.pid}.partial`;
  const descriptor = openSync(temporary, 'wx');
  try {
    writeAll(descriptor, metadata, tensors);
    fsyncSync(descriptor);
    closeSync(descriptor);
    renameSync(temporary, path);
  } catch (error) {
    // Already closed if the renaming failed; then this close fails and its error says nothing new.
    try {
      closeSync(descriptor);
    } catch {}
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
}

/** Makes the renaming itself durable. Windows cannot open folders and does not need it. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function writeAll(
  descriptor: number,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly TensorToWrite[],
): void {
  const declared = metadata['general.alignment'];
  const alignment = declared?.kind === 'integer' ? declared.value : DEFAULT_ALIGNMENT;
  const padded = (length: number): number => Math.ceil(length / alignment) * alignment;

  const header = new HeaderBytes();
  header.text('GGUF');
  header.u32(VERSION);
  header.u64(tensors.length);
  header.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    header.string(Buffer.from(key));
    putValue(header, value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    header.string(Buffer.from(tensor.name));
    header.u32(tensor.shape.length);
    for (const dimension of tensor.shape) header.u64(dimension);
    header.u32(TENSOR_TYPES[tensor.type].ggmlId);
    header.u64(offset);
    offset += padded(tensorBytes(tensor));
  }
  header.zeros(padded(header.length) - header.length);
  writeFully(descriptor, header.bytes());

  for (const tensor of tensors) {
    const size = tensorBytes(tensor);
    let written = 0;
    for (const piece of tensor.data()) {
      written += piece.length;
      if (written > size) break;
      writeFully(descriptor, piece);
    }
    if (written !== size) {
      throw new RangeError(
        `Tensor ${tensor.name} takes ${size} bytes, but ${written > size ? 'more' : `only ${written}`} came.`,
      );
    }
    writeFully(descriptor, new Uint8Array(padded(size) - size));
  }
}

function writeFully(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
}

function tensorBytes({ type, shape }: TensorToWrite): number {
  const [columns = 1, ...others] = shape;
  return others.reduce((product, dimension) => product * dimension, 1) * rowBytes(type, columns);
}

function putValue(header: HeaderBytes, value: GgufValue): void {
  switch (value.kind) {
    case 'integer':
    case 'float':
      header.u32(VALUE_TYPE_IDS[value.type]);
      header.scalar(value.type, value.value);
      return;
    case 'boolean':
      header.u32(VALUE_TYPE_IDS.bool);
      header.scalar('bool', value.value ? 1 : 0);
      return;
    case 'string':
      header.u32(VALUE_TYPE_IDS.string);
      header.string(Buffer.from(value.value));
      return;
    case 'strings':
      header.u32(ARRAY_ID);
      header.u32(VALUE_TYPE_IDS.string);
      putStrings(header, value.value);
      return;
    case 'integers':
    case 'floats':
      putNumbers(header, value.type, value.value);
      return;
    case 'booleans':
      putNumbers(header, 'bool', value.value);
      return;
  }
}

function putStrings(header: HeaderBytes, strings: PackedStrings): void {
  header.u64(strings.length);
  for (let i = 0; i < strings.length; i++) header.string(strings.at(i));
}

function putNumbers(header: HeaderBytes, type: GgufScalarType, values: NumberArray): void {
  header.u32(ARRAY_ID);
  header.u32(VALUE_TYPE_IDS[type]);
  header.u64(values.length);
  for (const value of values) header.scalar(type, value);
}

/** A growing little-endian buffer. */
class HeaderBytes {
  #buffer = Buffer.alloc(1 << 16);
  length = 0;

  #room(bytes: number): number {
    const at = this.length;
    if (at + bytes > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(at + bytes, this.#buffer.length * 2));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
    }
    this.length += bytes;
    return at;
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#buffer.writeUInt32LE(value, at);
  }
  u64(value: number): void {
    const at = this.#room(8);
    this.#buffer.writeBigUInt64LE(BigInt(value), at);
  }
  text(ascii: string): void {
    const at = this.#room(ascii.length);
    this.#buffer.write(ascii, at, 'latin1');
  }
  string(bytes: Uint8Array): void {
    this.u64(bytes.length);
    const at = this.#room(bytes.length);
    this.#buffer.set(bytes, at);
  }
  zeros(count: number): void {
    const at = this.#room(count);
    this.#buffer.fill(0, at, at + count);
  }

  scalar(type: GgufScalarType, value: number): void {
    switch (type) {
      case 'u8':
      case 'bool': {
        const at = this.#room(1);
        this.#buffer.writeUInt8(value, at);
        return;
      }
      case 'i8': {
        const at = this.#room(1);
        this.#buffer.writeInt8(value, at);
        return;
      }
      case 'u16': {
        const at = this.#room(2);
        this.#buffer.writeUInt16LE(value, at);
        return;
      }
      case 'i16': {
        const at = this.#room(2);
        this.#buffer.writeInt16LE(value, at);
        return;
      }
      case 'u32':
        this.u32(value);
        return;
      case 'i32': {
        const at = this.#room(4);
        this.#buffer.writeInt32LE(value, at);
        return;
      }
      case 'u64':
        this.u64(value);
        return;
      case 'i64': {
        const at = this.#room(8);
        this.#buffer.writeBigInt64LE(BigInt(value), at);
        return;
      }
      case 'f32': {
        const at = this.#room(4);
        this.#buffer.writeFloatLE(value, at);
        return;
      }
      case 'f64': {
        const at = this.#room(8);
        this.#buffer.writeDoubleLE(value, at);
        return;
      }
      case 'string':
        throw new TypeError('A string is not a number.');
    }
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }
}
