/** Tensors of a file in other types, converted piece by piece, with the error that this makes. */
import { closeSync, openSync, readSync } from 'node:fs';
import { rowBytes, TENSOR_TYPES, type TensorType } from '../backend/tensor.ts';
import type { TensorToWrite } from './gguf-writer.ts';
import { dequantizeRow, quantizeRow } from './quants.ts';

/** Where a tensor's values are, and what they become. */
export interface SourceTensor {
  readonly name: string;
  readonly path: string;
  readonly type: TensorType;
  /** Fastest-varying dimension first. */
  readonly shape: readonly number[];
  readonly offset: number;
  readonly byteLength: number;
  /** Added to every value. */
  readonly addend: number;
}

export interface TensorReport {
  readonly name: string;
  readonly from: TensorType;
  readonly to: TensorType;
  readonly bytes: number;
  /** Root mean square of the error over that of the values; 0 where bytes were copied. */
  readonly relativeError: number;
}

/** Values converted at once. */
const PIECE_VALUES = 1 << 20;

/**
 * `tensors` with the types that `typeOf` chooses; `onDone` hears of each when it is written.
 * @throws RangeError, while it is written, for a type whose blocks do not divide a tensor's rows.
 */
export function requantized(
  tensors: readonly SourceTensor[],
  typeOf: (tensor: SourceTensor) => TensorType,
  onDone: (report: TensorReport) => void,
): TensorToWrite[] {
  return tensors.map((tensor) => {
    const type = typeOf(tensor);
    const { name, shape } = tensor;
    return { name, type, shape, data: () => convert(tensor, type, onDone) };
  });
}

function* convert(
  tensor: SourceTensor,
  to: TensorType,
  onDone: (report: TensorReport) => void,
): Generator<Uint8Array> {
  const { name, path, type: from, offset, byteLength, shape, addend } = tensor;
  const columns = shape[0]!;
  const rows = byteLength / rowBytes(from, columns);
  const rowsAtOnce = Math.max(1, Math.floor(PIECE_VALUES / columns));
  const descriptor = openSync(path, 'r');
  let errorSum = 0;
  let valueSum = 0;
  let bytes = 0;
  try {
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, rows - row) * columns;
      const source = new Uint8Array(rowBytes(from, count));
      readFully(descriptor, source, offset + row * rowBytes(from, columns), name);
      if (from === to && addend === 0) {
        bytes += source.length;
        yield source;
        continue;
      }
      const values = new Float32Array(count);
      dequantizeRow(from, source, values);
      if (addend !== 0) for (let i = 0; i < count; i++) values[i]! += addend;
      const target = new Uint8Array(rowBytes(to, count));
      quantizeRow(to, values, target);
      const back = new Float32Array(count);
      dequantizeRow(to, target, back);
      for (let i = 0; i < count; i++) {
        errorSum += (back[i]! - values[i]!) ** 2;
        valueSum += values[i]! ** 2;
      }
      bytes += target.length;
      yield target;
    }
  } finally {
    closeSync(descriptor);
  }
  onDone({ name, from, to, bytes, relativeError: valueSum === 0 ? 0 : Math.sqrt(errorSum / valueSum) });
}

/** Whether rows of this tensor are whole numbers of blocks of `type`. */
export function fitsType(tensor: SourceTensor, type: TensorType): boolean {
  return tensor.shape[0]! % TENSOR_TYPES[type].blockSize === 0;
}

function readFully(descriptor: number, target: Uint8Array, position: number, name: string): void {
  let done = 0;
  while (done < target.length) {
    const got = readSync(descriptor, target, done, target.length - done, position + done);
    if (got === 0) throw new RangeError(`Tensor ${name} ends early: the file has become shorter.`);
    done += got;
  }
}
