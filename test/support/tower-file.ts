/** The small image tower of the fixtures, and copies of it with other names, types or damage. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { TensorType } from '../../sidecar/engine/backend/tensor.ts';
import { rowBytes } from '../../sidecar/engine/backend/tensor.ts';
import { type GgufFile, readGguf } from '../../sidecar/engine/model/gguf.ts';
import type { GgufValue } from '../../sidecar/engine/model/gguf-metadata.ts';
import { writeGguf } from '../../sidecar/engine/model/gguf-writer.ts';
import { dequantizeRow, quantizeRow } from '../../sidecar/engine/model/quants.ts';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/vision');
/** 28 x 28 pixels in patches of 7, two layers of 36 in 3 heads, 2 x 2 pooled to 4 tokens of 32; F16. */
export const TOWER_FILE = path.join(FIXTURES, 'tower.gguf');

export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rgb: string;
}
/** What Pillow and the numpy reference made of the same pixels. */
export const PILLOW = JSON.parse(readFileSync(path.join(FIXTURES, 'pillow.json'), 'utf8')) as {
  readonly source: Pixels;
  readonly resized: readonly Pixels[];
  readonly oriented: readonly (Pixels & { readonly orientation: number })[];
  readonly tower: Pixels & { readonly letterbox: string };
};

export function imageOf({ width, height, rgb }: Pixels) {
  return { width, height, data: new Uint8Array(Buffer.from(rgb, 'base64')) };
}

/** Soft tokens of `PILLOW.tower` by the numpy reference, `[4][32]`. */
export function expectedEmbedding(): Float32Array {
  const bytes = new Uint8Array(readFileSync(path.join(FIXTURES, 'tower.f32')));
  return new Float32Array(bytes.buffer);
}

export interface TowerVariant {
  readonly rename?: (name: string) => string;
  /** Type of a tensor instead of its own. */
  readonly type?: (name: string) => TensorType | undefined;
  readonly shape?: (name: string, shape: readonly number[]) => readonly number[];
  readonly omit?: string;
  readonly metadata?: (own: Record<string, GgufValue>) => Record<string, GgufValue>;
}

/** Writes a changed copy of the tower to `file`. */
export function writeTower(file: string, variant: TowerVariant): void {
  const source = readGguf(TOWER_FILE);
  const own = Object.fromEntries(source.metadata.keys().map((key) => [key, source.metadata.get(key)!]));
  const tensors = [...source.tensors.values()]
    .filter(({ name }) => name !== variant.omit)
    .map((tensor) => {
      const type = variant.type?.(tensor.name) ?? tensor.type;
      const bytes = converted(source, tensor.name, type);
      const shape = variant.shape?.(tensor.name, tensor.shape) ?? tensor.shape;
      return { name: variant.rename?.(tensor.name) ?? tensor.name, type, shape, data: () => [bytes] };
    });
  writeGguf(file, variant.metadata?.(own) ?? own, tensors);
}

function converted(source: GgufFile, name: string, type: TensorType): Uint8Array {
  const tensor = source.tensors.get(name)!;
  const bytes = new Uint8Array(readFileSync(TOWER_FILE)).subarray(
    tensor.offset,
    tensor.offset + tensor.byteLength,
  );
  if (type === tensor.type) return bytes;
  const columns = tensor.shape[0]!;
  const rows = tensor.shape.slice(1).reduce((a, b) => a * b, 1);
  const out = new Uint8Array(rows * rowBytes(type, columns));
  const row = new Float32Array(columns);
  for (let r = 0; r < rows; r++) {
    const from = rowBytes(tensor.type, columns);
    dequantizeRow(tensor.type, bytes.subarray(r * from, (r + 1) * from), row);
    quantizeRow(type, row, out.subarray((r * out.length) / rows, ((r + 1) * out.length) / rows));
  }
  return out;
}
