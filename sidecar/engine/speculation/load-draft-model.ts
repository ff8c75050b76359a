/** Opens and loads a draft model beside the model that it drafts for. */
import type { Backend } from '../backend/backend.ts';
import { KvCache } from '../kv/kv-cache.ts';
import type { KvLayout } from '../kv/layout.ts';
import { kvPages } from '../kv/memory-plan.ts';
import { Gemma3, type Gemma3Limits } from '../model/gemma3.ts';
import { GgufError } from '../model/gguf-error.ts';
import { loadGemma3Weights, weightBytes } from '../model/weights.ts';
import { type ModelFile, openModelFile } from '../model-file.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { DraftModel } from './draft-model.ts';

/** @throws GgufError for a file that is damaged, no Gemma 3 model, or of another vocabulary than `tokenizer`. */
export function openDraftModel(path: string, tokenizer: Tokenizer): ModelFile {
  const file = openModelFile(path);
  const difference = firstDifference(file.tokenizer, tokenizer);
  if (difference !== null) {
    throw new GgufError(
      'unsupported',
      'tokenizer.ggml.tokens',
      0,
      `${path} cannot draft for this model: ${difference}. Choose a smaller model of the same family, such as Gemma 3 270M for Gemma 3 4B.`,
    );
  }
  return file;
}

export interface LoadDraftModel {
  readonly layout: KvLayout;
  readonly limits: Gemma3Limits;
  /** Of the large model; drafts end where the draft model's own context does. */
  readonly contextLength: number;
  /** Of the large model's weights: decoding takes about as long as reading them. */
  readonly weightBytes: number;
  readonly signal?: AbortSignal;
}

export async function loadDraftModel(
  backend: Backend,
  { gguf, config }: ModelFile,
  { layout, limits, contextLength, weightBytes: largeBytes, signal }: LoadDraftModel,
): Promise<DraftModel> {
  const weights = await loadGemma3Weights(backend, gguf, config, signal ? { signal } : {});
  const context = Math.min(contextLength, config.trainedContext);
  const kv = new KvCache(backend, layout, kvPages(layout, context));
  const model = new Gemma3(config, weights, backend, { ...limits, logits: 1 });
  return new DraftModel({
    backend,
    model,
    kv,
    contextLength: context,
    relativeCost: weightBytes(gguf, config) / largeBytes,
  });
}

/** What tells the vocabularies apart, or null. */
function firstDifference(draft: Tokenizer, large: Tokenizer): string | null {
  if (draft.size !== large.size) {
    return `it has ${draft.size.toLocaleString('en-US')} pieces, not ${large.size.toLocaleString('en-US')}`;
  }
  for (let id = 0; id < large.size; id++) {
    if (draft.piece(id) !== large.piece(id)) {
      return `its piece ${id} is ${JSON.stringify(draft.piece(id))}, not ${JSON.stringify(large.piece(id))}`;
    }
  }
  return null;
}
