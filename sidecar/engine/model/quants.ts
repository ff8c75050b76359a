/** Rows of any tensor type to F32 and back; checks sizes and values once, then runs the tight loops. */
import { rowBytes, type TensorType } from '../backend/tensor.ts';
import {
  type Dequantizer,
  fromBF16,
  fromF16,
  fromF32,
  fromQ4_0,
  fromQ4_1,
  fromQ4_K,
  fromQ5_0,
  fromQ5_1,
  fromQ5_K,
  fromQ6_K,
  fromQ8_0,
} from './dequantize.ts';
import {
  type Quantizer,
  toBF16,
  toF16,
  toF32,
  toQ4_0,
  toQ4_1,
  toQ4_K,
  toQ5_0,
  toQ5_1,
  toQ5_K,
  toQ6_K,
  toQ8_0,
} from './quantize.ts';

const DEQUANTIZERS: Record<TensorType, Dequantizer> = {
  F32: fromF32,
  F16: fromF16,
  BF16: fromBF16,
  Q4_0: fromQ4_0,
  Q4_1: fromQ4_1,
  Q5_0: fromQ5_0,
  Q5_1: fromQ5_1,
  Q8_0: fromQ8_0,
  Q4_K: fromQ4_K,
  Q5_K: fromQ5_K,
  Q6_K: fromQ6_K,
};

const QUANTIZERS: Record<TensorType, Quantizer> = {
  F32: toF32,
  F16: toF16,
  BF16: toBF16,
  Q4_0: toQ4_0,
  Q4_1: toQ4_1,
  Q5_0: toQ5_0,
  Q5_1: toQ5_1,
  Q8_0: toQ8_0,
  Q4_K: toQ4_K,
  Q5_K: toQ5_K,
  Q6_K: toQ6_K,
};

/**
 * Decodes `out.length` values of `type` from `bytes`, one row or several whole rows at once.
 * Throws RangeError unless `bytes` has exactly the bytes of that many values.
 */
export function dequantizeRow(type: TensorType, bytes: Uint8Array, out: Float32Array): void {
  checkBytes(type, out.length, bytes.length);
  DEQUANTIZERS[type](bytes, out);
}

/**
 * Encodes `values`, one row or several whole rows at once, into `out`. Throws RangeError unless `out` has
 * exactly the bytes needed, and where a value is not finite or its scale does not fit into F16.
 */
export function quantizeRow(type: TensorType, values: Float32Array, out: Uint8Array): void {
  checkBytes(type, values.length, out.length);
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]))
      throw new RangeError(`Value ${i} is ${values[i]}; ${type} needs finite numbers.`);
  }
  QUANTIZERS[type](values, out);
}

function checkBytes(type: TensorType, values: number, bytes: number): void {
  const need = rowBytes(type, values);
  if (bytes !== need) throw new RangeError(`${values} values of ${type} take ${need} bytes, not ${bytes}.`);
}
