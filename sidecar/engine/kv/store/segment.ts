/**
 * The bytes of a segment file: one header, then records of equal size, each a block of 64 positions of one class of layers.
 *
 *   header, 4,096 B   "GSKVSEG1" | u32 version, class, payload bytes, positions, description bytes, 0 | fingerprint[32]
 *                     | description (UTF-8 JSON) | zeros | u32 CRC-32 of all before
 *   record            512 B: "GSKB" | u32 block index, payload bytes, CRC-32 of the payload | key[32] | parent key[32]
 *                     | u32 ids[64] | zeros | u32 CRC-32 of all before
 *                     then the payload, zeros up to a multiple of 512
 *
 * All numbers are little-endian. A record is valid by itself, so damage to one costs one block.
 */
import { crc32 } from 'node:zlib';
import { PAGE_POSITIONS } from '../../backend/backend.ts';
import type { LayerClass } from '../layout.ts';
import { KEY_BYTES, littleEndian } from './block-key.ts';

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 4096;
export const RECORD_HEADER_BYTES = 512;
const SEGMENT_MAGIC = Buffer.from('GSKVSEG1', 'latin1');
const RECORD_MAGIC = Buffer.from('GSKB', 'latin1');
const DESCRIPTION_AT = 64;
const MOST_DESCRIPTION = SEGMENT_HEADER_BYTES - DESCRIPTION_AT - 4;
const CLASSES: readonly LayerClass[] = ['local', 'global'];

export interface SegmentHeader {
  readonly kind: LayerClass;
  readonly payloadBytes: number;
  readonly fingerprint: Uint8Array;
  /** For people: which model. */
  readonly description: string;
}

export interface BlockHeader {
  readonly index: number;
  readonly key: string;
  readonly parent: string;
  readonly ids: Uint32Array;
}

/** Bytes from one record to the next. */
export function recordStride(payloadBytes: number): number {
  return RECORD_HEADER_BYTES + Math.ceil(payloadBytes / RECORD_HEADER_BYTES) * RECORD_HEADER_BYTES;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const description = Buffer.from(header.description, 'utf8').subarray(0, MOST_DESCRIPTION);
  SEGMENT_MAGIC.copy(bytes);
  const numbers = [
    FORMAT_VERSION,
    CLASSES.indexOf(header.kind),
    header.payloadBytes,
    PAGE_POSITIONS,
    description.length,
  ];
  for (const [i, value] of numbers.entries()) bytes.writeUInt32LE(value, 8 + 4 * i);
  bytes.set(header.fingerprint, 32);
  description.copy(bytes, DESCRIPTION_AT);
  return seal(bytes);
}

/** Null for anything that this version did not write whole. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | null {
  if (bytes.length !== SEGMENT_HEADER_BYTES || !isSealed(bytes, SEGMENT_MAGIC)) return null;
  const [version, kind, payloadBytes, positions, length] = [0, 1, 2, 3, 4].map((i) =>
    bytes.readUInt32LE(8 + 4 * i),
  ) as [number, number, number, number, number];
  const layerClass = CLASSES[kind];
  if (version !== FORMAT_VERSION || positions !== PAGE_POSITIONS || layerClass === undefined) return null;
  if (length > MOST_DESCRIPTION) return null;
  return {
    kind: layerClass,
    payloadBytes,
    fingerprint: Uint8Array.from(bytes.subarray(32, 32 + KEY_BYTES)),
    description: bytes.toString('utf8', DESCRIPTION_AT, DESCRIPTION_AT + length),
  };
}

export function encodeRecord(block: BlockHeader, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(recordStride(payload.length));
  const header = bytes.subarray(0, RECORD_HEADER_BYTES);
  RECORD_MAGIC.copy(header);
  header.writeUInt32LE(block.index, 4);
  header.writeUInt32LE(payload.length, 8);
  header.writeUInt32LE(crc32(payload), 12);
  header.write(block.key, 16, 'hex');
  header.write(block.parent, 16 + KEY_BYTES, 'hex');
  littleEndian(block.ids).copy(header, 16 + 2 * KEY_BYTES);
  seal(header);
  bytes.set(payload, RECORD_HEADER_BYTES);
  return bytes;
}

/** Null if the header is damaged or speaks of a payload of another size. */
export function decodeBlockHeader(bytes: Buffer, payloadBytes: number): BlockHeader | null {
  if (bytes.length !== RECORD_HEADER_BYTES || !isSealed(bytes, RECORD_MAGIC)) return null;
  if (bytes.readUInt32LE(8) !== payloadBytes) return null;
  const idsAt = 16 + 2 * KEY_BYTES;
  return {
    index: bytes.readUInt32LE(4),
    key: bytes.toString('hex', 16, 16 + KEY_BYTES),
    parent: bytes.toString('hex', 16 + KEY_BYTES, idsAt),
    ids: Uint32Array.from({ length: PAGE_POSITIONS }, (_, i) => bytes.readUInt32LE(idsAt + 4 * i)),
  };
}

/** The payload of a whole record, if it is exactly the block that is wanted; else null. */
export function checkedPayload(record: Buffer, wanted: BlockHeader, payloadBytes: number): Buffer | null {
  const header = decodeBlockHeader(record.subarray(0, RECORD_HEADER_BYTES), payloadBytes);
  if (header === null || record.length < RECORD_HEADER_BYTES + payloadBytes) return null;
  if (header.index !== wanted.index || header.key !== wanted.key || header.parent !== wanted.parent)
    return null;
  if (header.ids.some((id, i) => id !== wanted.ids[i])) return null;
  const payload = record.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + payloadBytes);
  return crc32(payload) === record.readUInt32LE(12) ? payload : null;
}

function seal(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
  return bytes;
}

function isSealed(bytes: Buffer, magic: Buffer): boolean {
  return (
    bytes.subarray(0, magic.length).equals(magic) &&
    crc32(bytes.subarray(0, -4)) === bytes.readUInt32LE(bytes.length - 4)
  );
}
