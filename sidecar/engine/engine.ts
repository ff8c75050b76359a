/** The engine's public face: token ids in, token ids out. */
import type { ActivationPrecision, KvFormat, OperationTime } from './backend/backend.ts';
import type { EncodedEmbedding, EncodeProgress } from './image-encoder.ts';
import type { KvPart } from './kv/kv-cache.ts';
import type { Miss } from './kv/resume.ts';
import type { KvStoreOptions } from './kv/store/kv-store.ts';
import { NO_IMAGE_TOWER } from './open-tower.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';
import type { PromptImage } from './vision/prompt-image.ts';
import type { RgbImage } from './vision/rgb-image.ts';

export interface EngineOptions {
  readonly modelPath: string;
  /**
   * The image tower, where it is a file of its own; absent: one in the model file, if there is one. A file that cannot be
   * used leaves a model that reads text; `imageProblem` says why.
   */
  readonly mmprojPath?: string;
  /** Default: the number of physical performance cores. */
  readonly threads?: number;
  /** How far the priority of the threads that compute is below the process's, from 0 (the default) to 19. */
  readonly niceness?: number;
  /** Default: the model's own, lowered (with a word in `notes`) to what memory allows. A value too large throws. */
  readonly contextLength?: number;
  readonly backend?: 'auto' | 'cpu' | 'gpu';
  /**
   * What activations are rounded to before they meet quantised matrices. 'bf16' where the processor multiplies BF16, elsewhere
   * as 'f32', which rounds nothing. Default: int8.
   */
  readonly precision?: ActivationPrecision;
  /**
   * How keys and values of global layers are kept that lie more than {@link HOT_PAGES} pages behind: exact, or rounded to
   * take half (int8) or 0.28 (int4) of the memory. 'auto' rounds as little as the context needs to fit: the first three, two
   * or one quarters of its pages stay exact, or none, and int8 comes before int4. Default: f16.
   */
  readonly kvFormat?: KvFormat | 'auto';
  /**
   * Positions of those further behind that a token reads in each global layer, besides the first page: the pages that promise
   * most for it. Faster on long contexts, not exact; the end of an answer says what may have been missed. Absent: all.
   */
  readonly sparsePositions?: number;
  /** Verify drafts of several tokens in one pass where that is faster. The text is the same. Default: true. */
  readonly speculation?: boolean;
  /** A smaller Gemma 3 with the same vocabulary that drafts where nothing is repeated. */
  readonly draftModelPath?: string;
  /**
   * Keep a copy of the output matrix in six bits, where that matrix is wider, which tells where the likeliest tokens are: the
   * text is the same, sooner. Default: where it takes nothing from the context.
   */
  readonly outputShadow?: boolean;
  /** Where KV is kept on disk; absent or null keeps it in memory only. */
  readonly store?: KvStoreOptions | null;
  readonly onProgress?: (fraction: number) => void;
  readonly signal?: AbortSignal;
}

/** Pages of 64 tokens, up to and with a token's own, that it reads as F16 whatever the format. */
export const HOT_PAGES = 8;

export interface ModelDescription {
  readonly name: string;
  readonly path: string;
  readonly fileBytes: number;
  readonly parameters: number;
  readonly quantisation: string;
  /** What the model was trained for, in tokens. */
  readonly trainedContext: number;
}

export interface Sampling {
  /** 0 is greedy. Gemma's own recommendation is temperature 1, top-k 64, top-p 0.95, min-p 0. */
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  /** 1 is none. */
  readonly repetitionPenalty: number;
  readonly seed: number;
}

export interface EncodeImageOptions {
  /** Keep the proportions, on black, as llama.cpp does; the default stretches, as Gemma was trained. */
  readonly letterbox?: boolean;
  readonly onProgress?: (progress: EncodeProgress) => void;
  readonly signal?: AbortSignal;
}

/** What the engine's image tower takes and gives. */
export interface ImageTower {
  /** Pixels on a side. */
  readonly imageSize: number;
  /** Positions of an image in the prompt. */
  readonly tokens: number;
  readonly layers: number;
  /** Bytes that its weights and its work take while it is loaded. */
  readonly memoryBytes: number;
}

export interface GenerateOptions {
  /** Images of the prompt, in order; their positions hold {@link imageIds}. */
  readonly images?: readonly PromptImage[];
  readonly maxTokens: number;
  readonly sampling?: Partial<Sampling>;
  /** Stop when one of these ids is produced (it is not reported). */
  readonly stopIds?: readonly number[];
  /** Typing ('completion') runs before chat, chat before 'background'. */
  readonly priority?: 'completion' | 'chat' | 'background';
  /** Prompt lengths worth resuming from later (end of the repository, of a turn); state is kept there. */
  readonly keepAt?: readonly number[];
  readonly signal?: AbortSignal;
}

export type GenerateEvent =
  | { readonly kind: 'waiting' }
  /** Prompt tokens in the KV cache so far; `cached` of them were there before. */
  | { readonly kind: 'prefill'; readonly done: number; readonly total: number; readonly cached: number }
  | { readonly kind: 'token'; readonly id: number }
  | {
      readonly kind: 'end';
      readonly reason: 'stop' | 'length' | 'context' | 'cancelled';
      readonly promptTokens: number;
      readonly cachedTokens: number;
      /** How many of them came from disk. */
      readonly diskTokens: number;
      /** Why not more were; null if all that could be were. */
      readonly miss: Miss | null;
      /** Prompt tokens whose KV is kept now: after a cancel, what was read so far. */
      readonly keptTokens: number;
      readonly generatedTokens: number;
      readonly prefillMs: number;
      readonly decodeMs: number;
      /** Tokens drafted by speculation, and how many of them the model said too. */
      readonly draftedTokens: number;
      readonly acceptedTokens: number;
      /** At most this share of any softmax was on pages that were not read; 0 without {@link EngineOptions.sparsePositions}. */
      readonly missedAtMost: number;
    };

/** In bytes. */
export interface EngineMemory {
  readonly weights: number;
  readonly kvReserved: number;
  readonly kvUsed: number;
  /** What `kvUsed` holds, each kind that there is. */
  readonly kvParts: readonly KvPart[];
}

export interface Engine {
  readonly model: ModelDescription;
  readonly tokenizer: Tokenizer;
  readonly contextLength: number;
  readonly backendDescription: string;
  /** Sentences for a person about what was adjusted at load (context lowered, ...). */
  readonly notes: readonly string[];
  /** What each kind of operation took since the call before; measured from the first call on. */
  profile(): readonly OperationTime[];
  memory(): EngineMemory;
  /**
   * How much of a prompt's beginning `generate` would reuse: from memory, and further from disk, where other processes write
   * too. Looks only; no KV is moved or freed.
   */
  lookUp(prompt: ArrayLike<number>): Promise<{ readonly memory: number; readonly disk: number }>;
  /** Throws ContextOverflow if the prompt leaves no room for one token. The stream always ends with 'end'. */
  generate(prompt: ArrayLike<number>, options: GenerateOptions): AsyncGenerator<GenerateEvent, void, void>;
  /** Next-token logits after each of the last `last` positions, F32 [last][vocabulary]. */
  logits(prompt: ArrayLike<number>, last?: number, signal?: AbortSignal): Promise<Float32Array>;
  /** Null: the model cannot see. */
  readonly imageTower: ImageTower | null;
  /** Why not, in a sentence that says how to get a model that can; null where it can. */
  readonly imageProblem: string | null;
  /**
   * Runs the image tower, in the background; its weights are loaded for the first image and dropped when none has come for a
   * while. What it made of an image is kept on disk beside the KV store, where there is one. Rejects with NoImageTower, OutOfMemory, or the signal's reason as soon as that fires.
   */
  encodeImage(image: RgbImage, options?: EncodeImageOptions): Promise<EncodedEmbedding>;
  dispose(): Promise<void>;
}

/** The model cannot see; the message says how to get a model that can. */
export class NoImageTower extends Error {
  override readonly name = 'NoImageTower';

  constructor(problem = NO_IMAGE_TOWER) {
    super(problem);
  }
}

/** The prompt does not fit; the message says by how much. */
export class ContextOverflow extends Error {
  override readonly name = 'ContextOverflow';
  readonly promptTokens: number;
  readonly contextLength: number;

  constructor(promptTokens: number, contextLength: number) {
    super(
      `The prompt has ${promptTokens} tokens, but the context holds ${contextLength}, one of them for the answer. Leave something out, or choose a larger context.`,
    );
    this.promptTokens = promptTokens;
    this.contextLength = contextLength;
  }
}
