/**
 * Reads the header of a safetensors file: eight bytes of length, then JSON, then data. Every tensor's range lies inside
 * the file, has the size of its shape and overlaps no other before anyone sees it.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { quoted } from '../gguf-error.ts';
import { CheckpointError, isObject, parseJsonObject } from './json-file.ts';

/** Bytes of one value, by the format's names. */
const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;
export type SafetensorsDtype = keyof typeof DTYPE_BYTES;

export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  /** Slowest-varying dimension first: `[rows, columns]`. */
  readonly shape: readonly number[];
  /** The file it lies in, and where, in bytes from the file's start. */
  readonly path: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** The 27B model's largest shard has a header of about 60 KiB. */
export const SAFETENSORS_LIMITS = { headerBytes: 1 << 24, tensors: 1 << 16, rank: 8 } as const;

const LENGTH_BYTES = 8;

/** Opens `path`, reads its header and closes it. Throws {@link CheckpointError}, or the system's error. */
export function readSafetensors(path: string): Map<string, SafetensorsTensor> {
  const descriptor = openSync(path, 'r');
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile()) throw new CheckpointError('invalid', path, 'is not a file.');
    const length = Buffer.alloc(LENGTH_BYTES);
    readFully(descriptor, length, 0, status.size, path);
    const declared = length.readBigUInt64LE();
    if (declared > SAFETENSORS_LIMITS.headerBytes) {
      throw new CheckpointError(
        'invalid',
        path,
        `declares a header of ${declared} bytes; at most ${SAFETENSORS_LIMITS.headerBytes} are read. It may be no safetensors file.`,
      );
    }
    const headerBytes = Number(declared);
    if (LENGTH_BYTES + headerBytes > status.size) {
      throw new CheckpointError(
        'incomplete',
        path,
        `is incomplete: it has ${status.size} bytes, its header alone needs ${LENGTH_BYTES + headerBytes}. Download or copy it again.`,
      );
    }
    const header = Buffer.alloc(headerBytes);
    readFully(descriptor, header, LENGTH_BYTES, status.size, path);
    return placeTensors(header.toString('utf8'), path, LENGTH_BYTES + headerBytes, status.size);
  } finally {
    closeSync(descriptor);
  }
}

function readFully(descriptor: number, target: Buffer, position: number, size: number, path: string): void {
  let done = 0;
  while (done < target.length) {
    const got = readSync(descriptor, target, done, target.length - done, position + done);
    if (got === 0) {
      throw new CheckpointError(
        'incomplete',
        path,
        `is incomplete: it has ${size} bytes, ${position + target.length} are needed. Download or copy it again.`,
      );
    }
    done += got;
  }
}

function placeTensors(
  json: string,
  path: string,
  dataOffset: number,
  fileSize: number,
): Map<string, SafetensorsTensor> {
  const entries = Object.entries(parseJsonObject(json, path)).filter(([name]) => name !== '__metadata__');
  if (entries.length > SAFETENSORS_LIMITS.tensors) {
    throw new CheckpointError('invalid', path, `lists ${entries.length} tensors, which is too many.`);
  }
  const tensors = entries.map(([name, entry]) => readTensor(name, entry, path, dataOffset));
  let end = dataOffset;
  let previous = '';
  for (const { name, offset, byteLength } of tensors.toSorted((a, b) => a.offset - b.offset)) {
    if (offset < end) {
      throw new CheckpointError(
        'invalid',
        path,
        `has overlapping tensors ${quoted(previous)} and ${quoted(name)} at byte ${offset}.`,
      );
    }
    end = offset + byteLength;
    previous = name;
  }
  if (end > fileSize) {
    throw new CheckpointError(
      'incomplete',
      path,
      `is incomplete: it has ${fileSize} bytes, ${quoted(previous)} needs ${end}. Download or copy it again.`,
    );
  }
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

function readTensor(name: string, entry: unknown, path: string, dataOffset: number): SafetensorsTensor {
  const invalid = (what: string): CheckpointError =>
    new CheckpointError('invalid', path, `describes tensor ${quoted(name)} wrongly: ${what}.`);
  if (!isObject(entry)) throw invalid('its entry is no object');
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !isDtype(dtype)) {
    throw invalid(`its dtype is ${quoted(String(dtype))}; known are ${Object.keys(DTYPE_BYTES).join(', ')}`);
  }
  if (!isCounts(shape) || shape.length > SAFETENSORS_LIMITS.rank) {
    throw invalid(`its shape is not a list of at most ${SAFETENSORS_LIMITS.rank} whole numbers`);
  }
  let values = 1;
  for (const dimension of shape) {
    // Division instead of multiplication: the product itself could be rounded and pass.
    if (dimension > 0 && values > Math.floor(Number.MAX_SAFE_INTEGER / 8 / dimension)) {
      throw invalid(`its shape [${shape.join(', ')}] is too large`);
    }
    values *= dimension;
  }
  if (!isCounts(offsets) || offsets.length !== 2) throw invalid('its data_offsets are not two whole numbers');
  const [begin, end] = offsets as [number, number];
  const byteLength = values * DTYPE_BYTES[dtype];
  if (end - begin !== byteLength) {
    throw invalid(
      `[${shape.join(', ')}] values of ${dtype} take ${byteLength} bytes, its data_offsets span ${end - begin}`,
    );
  }
  if (!Number.isSafeInteger(dataOffset + end)) throw invalid(`it ends at byte ${end}`);
  return { name, dtype, shape, path, offset: dataOffset + begin, byteLength };
}

function isDtype(name: string): name is SafetensorsDtype {
  return Object.hasOwn(DTYPE_BYTES, name);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}
