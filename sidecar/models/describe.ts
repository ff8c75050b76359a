/** What a model file holds and whether it fits this machine, from its header alone: cheap, and safe on any file. */
import path from 'node:path';
import { availableMemory } from '../engine/available-memory.ts';
import { OutOfMemory } from '../engine/backend/backend.ts';
import type { ModelDescription } from '../engine/engine.ts';
import { planMemory } from '../engine/kv/memory-plan.ts';
import { kvLayout, PASS_LIMITS } from '../engine/load-engine.ts';
import { type Gemma3Config, readGemma3Config } from '../engine/model/config.ts';
import { Gemma3 } from '../engine/model/gemma3.ts';
import { type GgufFile, readGguf } from '../engine/model/gguf.ts';
import { parameterCount, weightBytes } from '../engine/model/weights.ts';

export interface DescribedModel extends ModelDescription {
  /** The longest context, in tokens, that fits in memory that is free now; 0 if the model does not fit at all. */
  readonly fittingContext: number;
}

/** Throws GgufError, or the file system's error, for what is no whole Gemma 3 model. */
export function describeModel(file: string): DescribedModel {
  const gguf = readGguf(file);
  const { config } = readGemma3Config(gguf);
  const bytesOfType = new Map<string, number>();
  for (const { type, byteLength } of gguf.tensors.values()) {
    bytesOfType.set(type, (bytesOfType.get(type) ?? 0) + byteLength);
  }
  const [mostBytes] = [...bytesOfType].sort((a, b) => b[1] - a[1]);
  return {
    name: gguf.metadata.optionalString('general.name') ?? path.basename(file, '.gguf'),
    path: file,
    fileBytes: gguf.fileSize,
    parameters: parameterCount(config),
    quantisation: mostBytes?.[0] ?? 'none',
    trainedContext: config.trainedContext,
    fittingContext: fittingContext(gguf, config),
  };
}

function fittingContext(gguf: GgufFile, config: Gemma3Config): number {
  try {
    return planMemory({
      layout: kvLayout(config),
      weightBytes: weightBytes(gguf, config),
      scratchBytes: Gemma3.scratchBytes(config, PASS_LIMITS),
      trainedContext: config.trainedContext,
      contextLength: undefined,
      available: availableMemory(),
    }).contextLength;
  } catch (error) {
    if (error instanceof OutOfMemory) return 0;
    throw error;
  }
}
