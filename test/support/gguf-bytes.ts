/** GGUF headers built field by field, valid or not, and parsing them from memory. */
import { type GgufFile, parseGguf } from '../../sidecar/engine/model/gguf.ts';

export type Field =
  | { readonly u8: number }
  | { readonly u32: number }
  | { readonly u64: bigint | number }
  | { readonly f32: number }
  /** Length-prefixed. */
  | { readonly string: string }
  | { readonly zeros: number };

export function bytesOf(fields: readonly Field[]): Uint8Array {
  return new Uint8Array(Buffer.concat(fields.map(encoded)));
}

function encoded(field: Field): Buffer {
  if ('u8' in field) return Buffer.from([field.u8]);
  if ('zeros' in field) return Buffer.alloc(field.zeros);
  if ('string' in field) {
    const text = Buffer.from(field.string);
    return Buffer.concat([encoded({ u64: text.length }), text]);
  }
  if ('u64' in field) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(field.u64)));
    return bytes;
  }
  const bytes = Buffer.alloc(4);
  if ('u32' in field) bytes.writeUInt32LE(field.u32 >>> 0);
  else bytes.writeFloatLE(field.f32);
  return bytes;
}

const MAGIC = 0x46554747;

export interface HeaderParts {
  readonly magic?: number;
  readonly version?: number;
  /** Default: as many as there are entries in `tensors` and `keys`. */
  readonly tensorCount?: bigint | number;
  readonly keyCount?: bigint | number;
  readonly keys?: readonly (readonly Field[])[];
  readonly tensors?: readonly (readonly Field[])[];
  /** Bytes of data after the header, which is padded to 32 first. */
  readonly data?: number;
}

export function headerBytes(parts: HeaderParts): Uint8Array {
  const { keys = [], tensors = [] } = parts;
  const header = bytesOf([
    { u32: parts.magic ?? MAGIC },
    { u32: parts.version ?? 3 },
    { u64: parts.tensorCount ?? tensors.length },
    { u64: parts.keyCount ?? keys.length },
    ...keys.flat(),
    ...tensors.flat(),
  ]);
  const padded = Math.ceil(header.length / 32) * 32;
  return new Uint8Array(
    Buffer.concat([header], parts.data === undefined ? header.length : padded + parts.data),
  );
}

/** One entry of the tensor table. */
export function tensorFields(
  name: string,
  shape: readonly (bigint | number)[],
  type: number,
  offset: bigint | number,
): Field[] {
  return [
    { string: name },
    { u32: shape.length },
    ...shape.map((dimension) => ({ u64: dimension })),
    { u32: type },
    { u64: offset },
  ];
}

export function parseBytes(bytes: Uint8Array): GgufFile {
  return parseGguf(
    {
      size: bytes.length,
      read: (target, length, position) => {
        const part = bytes.subarray(position, position + length);
        target.set(part);
        return part.length;
      },
    },
    'memory.gguf',
  );
}
