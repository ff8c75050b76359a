/** The Gemma 3 files that other programs already keep on this machine. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { type DescribedModel, describeModel } from './describe.ts';
import { ollamaModels } from './ollama.ts';
import type { ModelPlace, ModelSource } from './places.ts';
import { filesBelow } from './walk.ts';

export interface FoundModel extends DescribedModel {
  readonly source: ModelSource;
}

interface Candidate {
  readonly source: ModelSource;
  readonly file: string;
  /** The name its program knows it by. */
  readonly name?: string;
}

const MAX_CANDIDATES = 500;
/** A GGUF file says its architecture first; files of other architectures need not be read further. */
const SNIFFED_BYTES = 4096;

/** Sorted by size. What is no whole Gemma 3 model is not listed; nothing found is no error. */
export async function findModels(places: readonly ModelPlace[]): Promise<readonly FoundModel[]> {
  const found = new Map<string, FoundModel>();
  const candidates = (await Promise.all(places.map(candidatesIn))).flat().slice(0, MAX_CANDIDATES);
  for (const { source, file, name } of candidates) {
    try {
      const target = await fs.realpath(file);
      if (found.has(target) || !(await looksLikeGemma(target))) continue;
      // Hugging Face keeps the file's name in the link, and Ollama the model's in the manifest.
      const model = await describeModel(target);
      found.set(target, {
        ...model,
        path: source === 'ollama' ? target : file,
        ...(name && { name }),
        source,
      });
    } catch {
      // Damaged, half-downloaded, an image tower, another architecture: nothing to offer.
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return [...found.values()].sort((a, b) => a.fileBytes - b.fileBytes || (a.path < b.path ? -1 : 1));
}

async function candidatesIn({ source, folder }: ModelPlace): Promise<readonly Candidate[]> {
  if (source === 'ollama') return (await ollamaModels(folder)).map((model) => ({ source, ...model }));
  const wanted = (relative: string) =>
    relative.endsWith('.gguf') && (source !== 'hugging-face' || relative.split(path.sep)[2] !== undefined);
  return (await filesBelow(folder, wanted)).map((file) => ({ source, file }));
}

async function looksLikeGemma(file: string): Promise<boolean> {
  // Waits for no writer, should the file be a pipe.
  if (!(await fs.stat(file)).isFile()) return false;
  const handle = await fs.open(file);
  try {
    const head = Buffer.alloc(SNIFFED_BYTES);
    const { bytesRead } = await handle.read(head, 0, SNIFFED_BYTES, 0);
    return head.toString('latin1', 0, 4) === 'GGUF' && head.subarray(0, bytesRead).includes('gemma3');
  } finally {
    await handle.close();
  }
}
