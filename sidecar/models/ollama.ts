/** Ollama's store: a manifest for each model names its parts by digest, and a part is a file of that name. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { filesBelow } from './walk.ts';

const MODEL_LAYER = 'application/vnd.ollama.image.model';
const PROJECTOR_LAYER = 'application/vnd.ollama.image.projector';
/** A manifest has a few hundred bytes. */
const MAX_MANIFEST_BYTES = 256 * 1024;
/** The only form of digest that becomes part of a path. */
const DIGEST = /^sha256:(?<hex>[0-9a-f]{64})$/;

export interface OllamaModel {
  /** As `ollama list` shows it. */
  readonly name: string;
  readonly file: string;
  /** The image tower, where the model was imported in two files. */
  readonly projector?: string;
}

/** Models whose manifests are whole; whether their files are there is not looked at. */
export async function ollamaModels(folder: string): Promise<readonly OllamaModel[]> {
  const manifests = path.join(folder, 'manifests');
  const found: OllamaModel[] = [];
  for (const file of await filesBelow(manifests, () => true)) {
    const digests = await layerDigests(file);
    if (digests?.model === undefined) continue;
    const blob = (hex: string) => path.join(folder, 'blobs', `sha256-${hex}`);
    // registry/namespace/model/tag
    const [tag, model] = path.relative(manifests, file).split(path.sep).reverse();
    found.push({
      name: `${model}:${tag}`,
      file: blob(digests.model),
      ...(digests.projector !== undefined && { projector: blob(digests.projector) }),
    });
  }
  return found;
}

interface LayerDigests {
  readonly model: string | undefined;
  readonly projector: string | undefined;
}

async function layerDigests(manifest: string): Promise<LayerDigests | undefined> {
  try {
    const status = await fs.stat(manifest);
    if (!status.isFile() || status.size > MAX_MANIFEST_BYTES) return undefined;
    const { layers } = JSON.parse(await fs.readFile(manifest, 'utf8')) as { readonly layers?: unknown };
    if (!Array.isArray(layers)) return undefined;
    const digestOf = (mediaType: string): string | undefined => {
      const layer = layers.find(
        (each: { readonly mediaType?: unknown } | null) => each?.mediaType === mediaType,
      );
      return DIGEST.exec(String(layer?.digest))?.groups?.['hex'];
    };
    return { model: digestOf(MODEL_LAYER), projector: digestOf(PROJECTOR_LAYER) };
  } catch {
    return undefined; // Not a manifest, or half-written.
  }
}
