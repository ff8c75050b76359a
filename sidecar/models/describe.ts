/** What a model file holds, from its header alone: cheap, and safe on any file. */
import path from 'node:path';
import type { ModelDescription } from '../engine/engine.ts';
import { readGguf } from '../engine/model/gguf.ts';

/** Throws GgufError, or the file system's error, for what cannot be read. */
export function describeModel(file: string): ModelDescription {
  const gguf = readGguf(file);
  const bytesOfType = new Map<string, number>();
  let parameters = 0;
  for (const tensor of gguf.tensors.values()) {
    parameters += tensor.shape.reduce((a, b) => a * b, 1);
    bytesOfType.set(tensor.type, (bytesOfType.get(tensor.type) ?? 0) + tensor.byteLength);
  }
  const [mostBytes] = [...bytesOfType].sort((a, b) => b[1] - a[1]);
  return {
    name: gguf.metadata.optionalString('general.name') ?? path.basename(file, '.gguf'),
    path: file,
    fileBytes: gguf.fileSize,
    parameters,
    quantisation: mostBytes?.[0] ?? 'none',
    trainedContext: gguf.metadata.optionalUnsigned('gemma3.context_length') ?? 0,
  };
}
