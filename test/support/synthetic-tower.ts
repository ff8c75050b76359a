/** Image towers of any shape with seeded random weights, as llama.cpp's projector files: for timing, not for seeing. */
import type { TensorType } from '../../sidecar/engine/backend/tensor.ts';
import type { GgufValue } from '../../sidecar/engine/model/gguf-metadata.ts';
import { writeGguf } from '../../sidecar/engine/model/gguf-writer.ts';
import { type TowerConfig, towerTensors } from '../../sidecar/engine/vision/tower-file.ts';
import { seededRandom } from './random.ts';
import { matrixPieces } from './tiny-model.ts';

/** SigLIP So400m as Gemma 3 4B has it. */
export const FULL_TOWER: TowerConfig = {
  imageSize: 896,
  patchSize: 14,
  width: 1152,
  feedForward: 4304,
  heads: 16,
  layers: 27,
  epsilon: 1e-6,
  pool: 4,
  textWidth: 2560,
};

export function writeSyntheticTower(path: string, config: TowerConfig, type: TensorType = 'F16'): void {
  const integer = (value: number): GgufValue => ({ kind: 'integer', type: 'u32', value });
  const text = (value: string): GgufValue => ({ kind: 'string', value });
  const key = (name: string) => `clip.vision.${name}`;
  writeGguf(
    path,
    {
      'general.architecture': text('clip'),
      'general.name': text('synthetic'),
      'clip.has_vision_encoder': { kind: 'boolean', value: true },
      'clip.projector_type': text('gemma3'),
      'clip.use_gelu': { kind: 'boolean', value: true },
      [key('image_size')]: integer(config.imageSize),
      [key('patch_size')]: integer(config.patchSize),
      [key('embedding_length')]: integer(config.width),
      [key('feed_forward_length')]: integer(config.feedForward),
      [key('attention.head_count')]: integer(config.heads),
      [key('block_count')]: integer(config.layers),
      [key('attention.layer_norm_epsilon')]: { kind: 'float', type: 'f32', value: config.epsilon },
      [key('projector.scale_factor')]: integer(config.pool),
    },
    towerTensors(config).map(({ name, shape }, seed) => {
      if (shape.length === 1)
        return { name, type: 'F32', shape, data: () => [vector(name, shape[0]!, seed)] };
      const columns = name === 'v.patch_embd.weight' ? shape.slice(0, 3).reduce((a, b) => a * b) : shape[0]!;
      const rows = shape.reduce((a, b) => a * b) / columns;
      const own = name.startsWith('v.patch') || name.startsWith('v.position') ? 'F32' : type;
      return { name, type: own, shape, data: () => matrixPieces(own, rows, columns, seed) };
    }),
  );
}

/** Norms scatter around 1, biases around 0. */
function vector(name: string, length: number, seed: number): Uint8Array {
  const random = seededRandom(seed);
  const mean = /(ln\d|post_ln|norm)\.weight$/.test(name) ? 1 : 0;
  const values = Float32Array.from({ length }, () => mean + 0.1 * (random() - 0.5));
  return new Uint8Array(values.buffer);
}
