/** What a model file holds and whether it fits this machine, from its header alone: cheap, and safe on any file. */
import path from 'node:path';
import { OutOfMemory } from '../engine/backend/backend.ts';
import type { ModelDescription } from '../engine/engine.ts';
import { planEngineMemory } from '../engine/load-engine.ts';
import { type Gemma3Config, readGemma3Config } from '../engine/model/config.ts';
import { type GgufFile, readGguf } from '../engine/model/gguf.ts';
import { parameterCount } from '../engine/model/weights.ts';
import { hasTower, readTowerFile, type TowerFile } from '../engine/vision/tower-file.ts';
import { findImageTower } from './image-tower.ts';

export interface DescribedModel extends ModelDescription {
  /**
   * The context, in tokens, that the model would be loaded with in memory that is free now, beside its image tower if it has
   * one; 0 if it does not fit at all.
   */
  readonly fittingContext: number;
}

/**
 * `available` are the bytes that may be taken; by default those that are free now. Throws GgufError, or the file system's
 * error, for what is no whole Gemma 3 model.
 */
export async function describeModel(file: string, available?: number): Promise<DescribedModel> {
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
    fittingContext: fittingContext(
      gguf,
      config,
      towerOf(gguf, config, await findImageTower(file)),
      available,
    ),
  };
}

/** Null also for a tower that cannot be used: then the model reads text. */
function towerOf(gguf: GgufFile, config: Gemma3Config, mmprojPath: string | null): TowerFile | null {
  if (mmprojPath === null && !hasTower(gguf)) return null;
  try {
    const tower = readTowerFile(mmprojPath === null ? gguf : readGguf(mmprojPath));
    return tower.config.textWidth === config.width ? tower : null;
  } catch {
    return null;
  }
}

function fittingContext(
  gguf: GgufFile,
  config: Gemma3Config,
  tower: TowerFile | null,
  available: number | undefined,
): number {
  try {
    const options = { kvFormat: 'auto', ...(available !== undefined && { available }) } as const;
    return planEngineMemory(gguf, config, options, null, tower).contextLength;
  } catch (error) {
    if (error instanceof OutOfMemory) return 0;
    throw error;
  }
}
