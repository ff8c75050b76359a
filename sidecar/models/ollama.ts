/** Ollama's store: a manifest for each model names its parts by digest, and a part is a file of that name. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { filesBelow } from './walk.ts';

const MODEL_LAYER = 'application/vnd.ollama.image.model';
/** A manifest has a few hundred bytes. */
const MAX_MANIFEST_BYTES = 256 * 1024;
/** The only form of digest that becomes part of a path. */
const DIGEST = /^sha256:(?<hex>[0-9a-f]{64})$/;

export interface OllamaModel {
  /** As `ollama list` shows it. */
  readonly name: string;
  readonly file: string;
}

/** Models whose manifests are whole; whether their files are there is not looked at. */
export async function ollamaModels(folder: string): Promise<readonly OllamaModel[]> {
  const manifests = path.join(folder, 'manifests');
  const found: OllamaModel[] = [];
  for (const file of await filesBelow(manifests, () => true)) {
    const hex = await modelDigest(file);
    if (hex === undefined) continue;
    // registry/namespace/model/tag
    const [tag, model] = path.relative(manifests, file).split(path.sep).reverse();
    found.push({ name: `${model}:${tag}`, file: path.join(folder, 'blobs', `sha256-${hex}`) });
  }
  return found;
}

async function modelDigest(manifest: string): Promise<string | undefined> {
  try {
    const status = await fs.stat(manifest);
    if (!status.isFile() || status.size > MAX_MANIFEST_BYTES) return undefined;
    const { layers } = JSON.parse(await fs.readFile(manifest, 'utf8')) as { readonly layers?: unknown };
    if (!Array.isArray(layers)) return undefined;
    const model = layers.find(
      (layer: { readonly mediaType?: unknown } | null) => layer?.mediaType === MODEL_LAYER,
    );
    return DIGEST.exec(String(model?.digest))?.groups?.['hex'];
  } catch {
    return undefined; // Not a manifest, or half-written.
  }
}
