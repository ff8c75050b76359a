/** What the oracle holds instead of device memory, and the checks that every one of its operations makes. */
import { readFileSync } from 'node:fs';
import {
  type Activation,
  BackendError,
  type Matrix,
  OutOfMemory,
  type Vector,
} from '../../sidecar/engine/backend/backend.ts';
import { rowBytes, type TensorType, type WeightSource } from '../../sidecar/engine/backend/tensor.ts';
import { dequantizeRow } from '../../sidecar/engine/model/quants.ts';

/** What one typed array of the oracle may hold: 1 GiB of F32. */
export const MAX_VALUES = 2 ** 28;

const FLOAT_TYPES: readonly TensorType[] = ['F32', 'F16', 'BF16'];

export class OracleMatrix implements Matrix {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly quantized: boolean;
  readonly values: Float32Array;

  constructor(source: WeightSource) {
    this.name = source.name;
    this.rows = source.rows;
    this.columns = source.columns;
    this.quantized = !FLOAT_TYPES.includes(source.type);
    this.values = dequantize(source);
  }

  row(index: number): Float32Array {
    return this.values.subarray(index * this.columns, (index + 1) * this.columns);
  }

  dispose(): void {}
}

export class OracleVector implements Vector {
  readonly name: string;
  readonly length: number;
  readonly values: Float32Array;

  constructor(source: WeightSource) {
    this.name = source.name;
    this.length = source.columns;
    this.values = dequantize(source);
  }

  dispose(): void {}
}

export class OracleActivation implements Activation {
  readonly tokens: number;
  readonly width: number;
  readonly values: Float32Array;
  disposed = false;

  constructor(tokens: number, width: number) {
    this.tokens = positive(tokens, 'tokens');
    this.width = positive(width, 'width');
    if (tokens * width > MAX_VALUES) throw new OutOfMemory(`${tokens} x ${width} values are too many`);
    this.values = new Float32Array(tokens * width);
  }

  row(index: number): Float32Array {
    return this.values.subarray(index * this.width, (index + 1) * this.width);
  }

  dispose(): void {
    this.disposed = true;
  }
}

function dequantize(source: WeightSource): Float32Array {
  const { name, type, rows: rowCount, columns, data } = source;
  positive(rowCount, `rows of ${name}`);
  const stride = rowBytes(type, positive(columns, `columns of ${name}`));
  const bytes =
    data instanceof Uint8Array
      ? data
      : readFileSync(data.path).subarray(data.offset, data.offset + data.byteLength);
  if (bytes.byteLength !== rowCount * stride) {
    throw new RangeError(
      `${name} has ${bytes.byteLength} bytes; ${rowCount} ${type} rows are ${rowCount * stride}`,
    );
  }
  const values = new Float32Array(rowCount * columns);
  for (let row = 0; row < rowCount; row++) {
    const target = values.subarray(row * columns, (row + 1) * columns);
    dequantizeRow(type, bytes.subarray(row * stride, (row + 1) * stride), target);
  }
  return values;
}

export function matrix(handle: Matrix): OracleMatrix {
  if (handle instanceof OracleMatrix) return handle;
  throw new BackendError('This matrix was not loaded by the oracle backend.');
}

export function vector(handle: Vector): OracleVector {
  if (handle instanceof OracleVector) return handle;
  throw new BackendError('This vector was not loaded by the oracle backend.');
}

export function activation(handle: Activation): OracleActivation {
  if (!(handle instanceof OracleActivation)) {
    throw new BackendError('This activation was not created by the oracle backend.');
  }
  return usable(handle, 'activation');
}

export function usable<T extends { readonly disposed: boolean }>(handle: T, what: string): T {
  if (handle.disposed) throw new BackendError(`The ${what} was disposed.`);
  return handle;
}

export function rows(handle: OracleActivation, tokens: number): void {
  if (positive(tokens, 'tokens') > handle.tokens) {
    throw new RangeError(`${tokens} tokens do not fit an activation of ${handle.tokens}`);
  }
}

export function integer(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`${what} must be a whole number, not ${value}`);
  return value;
}

export function positive(value: number, what: string): number {
  if (integer(value, what) === 0) throw new RangeError(`${what} must be positive, not 0`);
  return value;
}

export function within(value: number, limit: number, what: string): void {
  if (integer(value, what) >= limit)
    throw new RangeError(`${what} ${value} is out of range; there are ${limit}`);
}

export function equal(actual: number, expected: number, what: string): void {
  if (actual !== expected) throw new RangeError(`${what} is ${actual} where ${expected} is needed`);
}
