/**
 * The image tower that belongs to a model file where it is a file of its own: llama.cpp and its kin put `mmproj*.gguf` beside
 * the model, Ollama names it in the model's manifest.
 */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { type GgufFile, readGguf } from '../engine/model/gguf.ts';
import { hasTower } from '../engine/vision/tower-file.ts';
import { ollamaModels } from './ollama.ts';

const MOST_ENTRIES = 10_000;

/** Null where the model file holds its own tower, or none is found. Whether the file is whole is for the engine to say. */
export async function findImageTower(modelPath: string): Promise<string | null> {
  const candidates = [...(await inManifest(modelPath)), ...(await beside(modelPath))];
  if (candidates.length === 0) return null;
  const model = header(modelPath);
  if (model === null || hasTower(model)) return null;
  const width = model.metadata.optionalUnsigned('gemma3.embedding_length');
  const leadsTo = (file: string) => header(file)?.tensors.get('mm.input_projection.weight')?.shape[0];
  return candidates.find((file) => leadsTo(file) === width) ?? candidates[0]!;
}

/** Those whose names share most with the model's come first. */
async function beside(modelPath: string): Promise<readonly string[]> {
  const folder = path.dirname(modelPath);
  const names = (await fs.readdir(folder).catch(() => [])).slice(0, MOST_ENTRIES);
  const own = wordsOf(path.basename(modelPath));
  const shared = (name: string) => wordsOf(name).filter((word) => own.includes(word)).length;
  return names
    .filter((name) => /mmproj.*\.gguf$/i.test(name) && name !== path.basename(modelPath))
    .sort((a, b) => shared(b) - shared(a) || (a < b ? -1 : 1))
    .map((name) => path.join(folder, name));
}

async function inManifest(modelPath: string): Promise<readonly string[]> {
  const blobs = path.dirname(modelPath);
  if (path.basename(blobs) !== 'blobs') return [];
  const models = await ollamaModels(path.dirname(blobs));
  const blob = path.basename(modelPath);
  return models.flatMap(({ file, projector }) =>
    path.basename(file) === blob && projector !== undefined ? [projector] : [],
  );
}

function wordsOf(name: string): readonly string[] {
  return name.toLowerCase().split(/[^a-z0-9]+/);
}

/** Null for what is no GGUF file. */
function header(file: string): GgufFile | null {
  try {
    return readGguf(file);
  } catch {
    return null;
  }
}
