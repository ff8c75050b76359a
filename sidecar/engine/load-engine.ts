/** From a model file to an engine: checks, the memory plan, weights, KV cache and store, draft model, image tower. */
import path from 'node:path';
import { availableMemory } from './available-memory.ts';
import type { Backend, KvFormat } from './backend/backend.ts';
import { selectBackend } from './backend/select.ts';
import { type EngineOptions, HOT_PAGES, type ModelDescription } from './engine.ts';
import { type EngineParts, GemmaEngine } from './gemma-engine.ts';
import { KvCache } from './kv/kv-cache.ts';
import { type KvLayout, leastHotPages, pageBytes, pagesFor } from './kv/layout.ts';
import { kvPages, type MemoryPlan, planFirstThatFits } from './kv/memory-plan.ts';
import type { BlockApproximation } from './kv/store/block-key.ts';
import { fingerprint, modelDigest } from './kv/store/fingerprint.ts';
import { KvStore, type KvStoreOptions } from './kv/store/kv-store.ts';
import type { Gemma3Config, LayerKind } from './model/config.ts';
import { FORWARD_VERSION, Gemma3, type Gemma3Limits } from './model/gemma3.ts';
import type { GgufFile } from './model/gguf.ts';
import { headShadowBytes, loadGemma3Weights, parameterCount, weightBytes } from './model/weights.ts';
import { type ModelFile, openModelHeader, openTokenizer } from './model-file.ts';
import { openTower } from './open-tower.ts';
import type { DraftModel } from './speculation/draft-model.ts';
import { loadDraftModel, openDraftModel } from './speculation/load-draft-model.ts';
import { Speculation } from './speculation/speculation.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';
import { EmbeddingStore } from './vision/embedding-store.ts';
import { type TowerFile, towerMemoryBytes } from './vision/tower-file.ts';

/** Tokens and rows of logits in one pass. */
export const PASS_LIMITS: Gemma3Limits = { tokens: 256, logits: 16 };

/** How global pages are kept, as {@link EngineOptions} say it; `exactPages` as in the layout. */
export interface GlobalPages {
  readonly format?: KvFormat;
  readonly exactPages?: number;
  readonly sparsePositions?: number | undefined;
}

type LayerShapes = Pick<Gemma3Config, 'layers' | 'kvHeads' | 'headDim' | 'window'>;

/** The KV cache that a model of this shape has. */
export function kvLayout(
  { layers, kvHeads, headDim, window }: LayerShapes,
  { format = 'f16', exactPages = 0, sparsePositions }: GlobalPages = {},
): KvLayout {
  const shape = (kind: LayerKind) => ({ layers: layers.filter((k) => k === kind).length, kvHeads, headDim });
  const hotPages = Math.max(HOT_PAGES, leastHotPages(PASS_LIMITS.tokens));
  return {
    shapes: { local: shape('local'), global: shape('global') },
    window,
    chunk: PASS_LIMITS.tokens,
    ...(format !== 'f16' && { cold: { format, hotPages, exactPages } }),
    ...(sparsePositions !== undefined && {
      sparse: { topPages: pagesFor(sparsePositions), recentPages: hotPages },
    }),
  };
}

export interface GemmaEngineOptions extends EngineOptions {
  /** A backend of one's own instead of the options `backend`, `threads` and `precision`; the engine disposes of it. */
  readonly createBackend?: () => Backend;
  /** Tokens in one pass, for tests; results do not depend on it. */
  readonly chunk?: number;
  /** Pages from the start of the text that stay F16 with `kvFormat` int8 or int4; default 0. */
  readonly exactPages?: number;
}

type PageOptions = Pick<GemmaEngineOptions, 'kvFormat' | 'exactPages' | 'sparsePositions'>;

/**
 * Loads a model. Memory is checked before anything large is read.
 *
 * @throws GgufError for a file that is damaged or no Gemma 3 model, OutOfMemory with the numbers, RangeError for a context
 * longer than the model was trained for, BackendError, or the signal's reason.
 */
export async function loadGemmaEngine(options: GemmaEngineOptions): Promise<GemmaEngine> {
  const { modelPath, signal, onProgress } = options;
  signal?.throwIfAborted();
  const header = openModelHeader(modelPath);
  const { gguf, config, notes: configNotes } = header;
  // Understood when it is needed, at the latest while weights are packed.
  let known: Tokenizer | null = null;
  const tokenizer = () => {
    known ??= openTokenizer(header);
    return known;
  };
  const limits = { ...PASS_LIMITS, tokens: options.chunk ?? PASS_LIMITS.tokens };
  const draft =
    options.draftModelPath === undefined ? null : openDraftModel(options.draftModelPath, tokenizer());
  const { mmprojPath } = options;
  const tower = openTower(gguf, {
    config,
    mmprojPath,
    mostTokens: PASS_LIMITS.tokens,
    get special() {
      return tokenizer().special;
    },
  });
  const plan = planEngineMemory(gguf, config, options, draft, tower.file);
  const asked = mmprojPath !== undefined && tower.problem !== null ? [tower.problem] : [];
  const notes = [...configNotes, ...asked, ...(plan.note === null ? [] : [plan.note])];

  const backend = options.createBackend?.() ?? selectFor(options);
  try {
    const loading = loadGemma3Weights(backend, gguf, config, {
      ...(onProgress && { onProgress }),
      ...(signal && { signal }),
    });
    // Should the vocabulary be refused, the backend is disposed of, and nobody asks any more how loading ended.
    loading.catch(() => {});
    // The backend's threads pack meanwhile.
    tokenizer();
    const weights = await loading;
    const { layout } = plan;
    const store = options.store ? await openKvStore(options.store, gguf, config, backend, layout) : null;
    const kv = new KvCache(backend, layout, kvPages(layout, plan.contextLength), store);
    const model = new Gemma3(config, weights, backend, limits);
    const draftModel =
      draft &&
      (await loadDraftModel(backend, draft, {
        layout: kvLayout(draft.config),
        limits,
        contextLength: plan.contextLength,
        weightBytes: weightBytes(gguf, config),
        ...(signal && { signal }),
      }));
    const accelerated = plan.extra ? addShadows(model, draftModel) : Promise.resolve();
    // Without, the engine is slower, not wrong; who awaits it learns why.
    accelerated.catch(() => {});
    return new GemmaEngine({
      tower,
      description: describe(gguf, config),
      tokenizer: tokenizer(),
      contextLength: plan.contextLength,
      notes,
      backend,
      model,
      kv,
      speculation: options.speculation === false ? null : new Speculation(draftModel),
      store,
      imageCache: imageCache(options.store ?? null, tower.file),
      accelerated,
    });
  } catch (error) {
    backend.dispose();
    throw error;
  }
}

async function addShadows(model: Gemma3, draftModel: DraftModel | null): Promise<void> {
  await model.addShadow();
  await draftModel?.addShadow();
}

/** The store of one model and way of computing within a folder of many. */
function imageCache(options: KvStoreOptions | null, tower: TowerFile | null): EngineParts['imageCache'] {
  return {
    store: options && new EmbeddingStore(options.folder, { mostAgeMs: options.mostAgeMs }),
    digest: (signal) => modelDigest(tower?.path ?? '', options?.folder ?? null, signal),
  };
}

export async function openKvStore(
  options: KvStoreOptions,
  gguf: GgufFile,
  config: Gemma3Config,
  backend: Backend,
  layout: KvLayout,
): Promise<KvStore> {
  const { name, quantisation } = describe(gguf, config);
  return new KvStore(options, {
    fingerprint: fingerprint({
      modelDigest: await modelDigest(gguf.path, options.folder),
      config,
      numerics: `${backend.numerics} forward ${FORWARD_VERSION}`,
    }),
    approximation: approximation(layout),
    description: `${name} ${quantisation}`,
    pageBytes: { local: pageBytes(layout.shapes.local), global: pageBytes(layout.shapes.global) },
  });
}

/** The first block with a token that reads a page in rounded form, or not at all: what is computed from there on differs. */
function approximation({ cold, sparse }: KvLayout): BlockApproximation | null {
  if (cold === undefined && sparse === undefined) return null;
  const rounded = cold && `${cold.format} from page ${cold.exactPages} to ${cold.hotPages} pages behind`;
  const chosen = sparse && `${sparse.topPages} pages chosen up to ${sparse.recentPages} pages behind`;
  return {
    firstBlock: Math.min(
      cold ? cold.exactPages + cold.hotPages : Number.POSITIVE_INFINITY,
      sparse ? sparse.recentPages + sparse.topPages + 1 : Number.POSITIVE_INFINITY,
    ),
    how: [rounded, chosen].filter((part) => part !== undefined).join(', '),
  };
}

/**
 * What 'auto' tries, the least rounding first: a format, and the share of the context's pages that stay F16. Shares are few
 * because a text that was read with another one is read again from where the two differ.
 */
const AUTO_PAGES: readonly { readonly format: KvFormat; readonly exactShare: number }[] = [
  { format: 'f16', exactShare: 1 },
  { format: 'int8', exactShare: 0.75 },
  { format: 'int8', exactShare: 0.5 },
  { format: 'int8', exactShare: 0.25 },
  { format: 'int8', exactShare: 0 },
  // Takes less than int8 throughout.
  { format: 'int4', exactShare: 0.25 },
  { format: 'int4', exactShare: 0 },
];

/** Layouts to choose from for a context of `context` tokens: the first that fits. */
export function kvLayouts(
  config: LayerShapes,
  context: number,
  { kvFormat = 'f16', exactPages = 0, sparsePositions }: PageOptions,
): readonly KvLayout[] {
  if (kvFormat !== 'auto') return [kvLayout(config, { format: kvFormat, exactPages, sparsePositions })];
  return AUTO_PAGES.flatMap(({ format, exactShare }) => {
    const exactPages = format === 'f16' ? 0 : Math.floor(exactShare * pagesFor(context));
    // Tokens choose among pages of one form.
    if (exactPages > 0 && sparsePositions !== undefined) return [];
    return [kvLayout(config, { format, exactPages, sparsePositions })];
  });
}

/**
 * What loading would take, and the context that fits in `available` bytes: by default in those that are free. Throws
 * OutOfMemory or RangeError.
 */
export function planEngineMemory(
  gguf: GgufFile,
  config: Gemma3Config,
  {
    contextLength,
    outputShadow = true,
    available = availableMemory(),
    ...pageOptions
  }: Pick<EngineOptions, 'contextLength' | 'outputShadow'> & PageOptions & { readonly available?: number },
  draft: ModelFile | null = null,
  tower: TowerFile | null = null,
): MemoryPlan & { readonly layout: KvLayout } {
  if (contextLength !== undefined && contextLength > config.trainedContext) {
    throw new RangeError(
      `The model was trained for ${config.trainedContext} tokens of context; ${contextLength} are too many.`,
    );
  }
  return planFirstThatFits(kvLayouts(config, contextLength ?? config.trainedContext, pageOptions), {
    weightBytes: weightBytes(gguf, config),
    scratchBytes: Gemma3.scratchBytes(config, PASS_LIMITS),
    trainedContext: config.trainedContext,
    contextLength,
    draft: draft && {
      layout: kvLayout(draft.config),
      weightBytes: weightBytes(draft.gguf, draft.config),
      scratchBytes: Gemma3.scratchBytes(draft.config, PASS_LIMITS),
    },
    extraBytes: outputShadow
      ? headShadowBytes(gguf, config) + (draft ? headShadowBytes(draft.gguf, draft.config) : 0)
      : 0,
    ...(tower !== null && { towerBytes: towerMemoryBytes(tower.config) }),
    available,
  });
}

function selectFor({ backend = 'auto', threads, niceness, precision }: EngineOptions): Backend {
  return selectBackend({
    kind: backend,
    ...(threads !== undefined && { threads }),
    ...(niceness !== undefined && { niceness }),
    ...(precision !== undefined && { precision }),
  });
}

function describe(gguf: GgufFile, config: Gemma3Config): ModelDescription {
  // The embedding often has a type of its own; the layers say what the model is.
  const body = gguf.tensors.get('blk.0.ffn_down.weight')?.type;
  return {
    name: gguf.metadata.optionalString('general.name') ?? path.basename(gguf.path, '.gguf'),
    path: gguf.path,
    fileBytes: gguf.fileSize,
    parameters: parameterCount(config),
    quantisation: body ?? 'unknown',
    trainedContext: config.trainedContext,
  };
}
