/** Models of the exact Gemma 3 shapes with random weights, as benchmarks need them: written once, kept for the next run. */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import type { TensorType } from '../sidecar/engine/backend/tensor.ts';
import { MODEL_SHAPES, type ModelShape, writeTinyModel } from '../test/support/tiny-model.ts';

/** The shape that a command line names. Throws RangeError where there is none. */
export function shapeOf(name: string): ModelShape {
  const shape = Object.entries(MODEL_SHAPES).find(([known]) => known === name)?.[1];
  if (shape === undefined) {
    throw new RangeError(`There is no shape "${name}". Shapes: ${Object.keys(MODEL_SHAPES).join(', ')}.`);
  }
  return shape;
}

/**
 * The path of a model of that shape in `folder`, written on first use; `body` is the type of its layers. A run that is
 * stopped while writing leaves no file under that name.
 */
export function syntheticModel(
  folder: string,
  name: string,
  embedding: TensorType = 'Q4_0',
  body: TensorType = 'Q4_0',
): string {
  const shape = shapeOf(name);
  mkdirSync(folder, { recursive: true });
  const file = path.join(
    folder,
    `${body === 'Q4_0' ? `${name}-${embedding}` : `${name}-${body}-${embedding}`}.gguf`,
  );
  if (!existsSync(file)) {
    writeTinyModel(`${file}.${process.pid}`, { shape, body, embedding });
    renameSync(`${file}.${process.pid}`, file);
  }
  return file;
}
