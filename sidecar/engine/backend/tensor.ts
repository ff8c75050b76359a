/**
 * Tensor types of Gemma 3 GGUF files and the plain descriptions of weights that a backend loads.
 *
 * Block sizes and byte counts follow the GGUF specification (ggml type table).
 */

export const TENSOR_TYPES = {
  F32: { ggmlId: 0, blockSize: 1, blockBytes: 4 },
  F16: { ggmlId: 1, blockSize: 1, blockBytes: 2 },
  Q4_0: { ggmlId: 2, blockSize: 32, blockBytes: 18 },
  Q4_1: { ggmlId: 3, blockSize: 32, blockBytes: 20 },
  Q5_0: { ggmlId: 6, blockSize: 32, blockBytes: 22 },
  Q5_1: { ggmlId: 7, blockSize: 32, blockBytes: 24 },
  Q8_0: { ggmlId: 8, blockSize: 32, blockBytes: 34 },
  Q4_K: { ggmlId: 12, blockSize: 256, blockBytes: 144 },
  Q5_K: { ggmlId: 13, blockSize: 256, blockBytes: 176 },
  Q6_K: { ggmlId: 14, blockSize: 256, blockBytes: 210 },
  BF16: { ggmlId: 30, blockSize: 1, blockBytes: 2 },
} as const;

export type TensorType = keyof typeof TENSOR_TYPES;

/** A validated byte range of a file: `offset + byteLength <= fileSize` has been checked. */
export interface FileRange {
  readonly path: string;
  /** Size of the file in bytes when it was validated; a backend refuses a file whose size has changed. */
  readonly fileSize: number;
  readonly offset: number;
  readonly byteLength: number;
}

/**
 * One weight tensor as it stands in a file: `rows` x `columns`, row-major, each row a whole number of blocks
 * of `type`. A vector has one row. `data` is a range of a file, or the bytes themselves (tests, conversion).
 */
export interface WeightSource {
  readonly name: string;
  readonly type: TensorType;
  readonly rows: number;
  readonly columns: number;
  readonly data: FileRange | Uint8Array;
}

/** Types so wide that reading a copy of six bits first saves more than it costs. */
const SHADOWED: readonly TensorType[] = ['F32', 'F16', 'BF16', 'Q8_0'];

/**
 * Bytes of a matrix's shadow: six bits a value, an F16 scale for 32, two F32 norms a row; 0 for a type that gets none.
 * Rows come in panels of 16.
 */
export function shadowBytes(type: TensorType, rows: number, columns: number): number {
  if (!SHADOWED.includes(type) || columns % 32 !== 0) return 0;
  return Math.ceil(rows / 16) * 16 * ((columns / 32) * 26 + 8);
}

/** Bytes of one row of `columns` values. Throws RangeError unless `columns` is a whole number of blocks. */
export function rowBytes(type: TensorType, columns: number): number {
  const { blockSize, blockBytes } = TENSOR_TYPES[type];
  if (columns % blockSize !== 0) {
    throw new RangeError(`${type} rows need a multiple of ${blockSize} columns, not ${columns}`);
  }
  return (columns / blockSize) * blockBytes;
}
