/** Model state between session and wire, and the settings a client sends at initialize. */
import type { Engine } from '../engine/engine.ts';
import type { ImageSupport, Status } from '../protocol/methods.ts';
import type { KvStoreSettings } from '../session/kv-store-options.ts';
import type { ModelHost, ModelSettings } from '../session/model-host.ts';
import type { AheadProgress } from '../session/read-ahead.ts';
import { clampInteger, record, string } from './chat-wire.ts';
import { InvalidParamsError } from './errors.ts';

/** Gemma 3's longest context. */
const MAX_CONTEXT = 131_072;
const MIN_CONTEXT = 512;
const MIN_SPARSE = 64;
const MAX_THREADS = 1024;
const KV_FORMATS = ['auto', 'f16', 'int8', 'int4'] as const;
type KvFormat = (typeof KV_FORMATS)[number];
const MAX_PATH = 32_768;
const MAX_CACHE_GIGABYTES = 4096;
const MAX_CACHE_DAYS = 3650;

export function settingsFromWire(options: unknown): ModelSettings & { readonly modelPath?: string } {
  if (options === undefined || options === null) return {};
  const { modelPath, mmprojPath, contextLength, threads, kvFormat, sparsePositions } = record(
    options,
    'initializationOptions',
  );
  return {
    ...(typeof modelPath === 'string' &&
      modelPath !== '' && { modelPath: string(modelPath, 'modelPath', MAX_PATH) }),
    ...mmprojFromWire(mmprojPath),
    ...(isGiven(contextLength) && {
      contextLength: clampInteger(contextLength, MIN_CONTEXT, MAX_CONTEXT, 'contextLength'),
    }),
    ...(isGiven(threads) && { threads: clampInteger(threads, 1, MAX_THREADS, 'threads') }),
    ...(isGiven(sparsePositions) && {
      sparsePositions: clampInteger(sparsePositions, MIN_SPARSE, MAX_CONTEXT, 'sparsePositions'),
    }),
    ...(isGiven(kvFormat) && { kvFormat: kvFormatFromWire(kvFormat) }),
  };
}

function kvFormatFromWire(value: unknown): KvFormat {
  const found = KV_FORMATS.find((format) => format === value);
  if (found === undefined) {
    throw new InvalidParamsError(`kvFormat must be one of ${KV_FORMATS.join(', ')}.`);
  }
  return found;
}

export interface SelectedModel {
  /** Null is the built-in model. */
  readonly path: string | null;
  readonly mmprojPath?: string;
}

export function selectedFromWire(params: unknown): SelectedModel {
  const { path, mmprojPath } = record(params, 'params');
  return {
    path: path === null ? null : string(path, 'path', MAX_PATH),
    ...mmprojFromWire(mmprojPath),
  };
}

function mmprojFromWire(value: unknown): { readonly mmprojPath?: string } {
  return typeof value === 'string' && value !== ''
    ? { mmprojPath: string(value, 'mmprojPath', MAX_PATH) }
    : {};
}

export function statusToWire(
  host: ModelHost,
  builtIn: string | null,
  readingAhead: AheadProgress | null = null,
): Status {
  const { state } = host;
  switch (state.kind) {
    case 'none':
      return { state: 'no-model', error: state.reason };
    case 'failed':
      return { state: 'failed', error: state.error.message };
    case 'loading':
      return { state: 'loading', progress: Math.min(1, Math.max(0, state.progress)) };
    case 'ready': {
      const { engine } = state;
      const { trainedContext, ...model } = engine.model;
      const memory = engine.memory();
      return {
        state: host.busy ? 'busy' : 'ready',
        model: { ...model, contextLength: trainedContext, builtIn: model.path === builtIn },
        backend: engine.backendDescription,
        contextLength: engine.contextLength,
        images: imagesToWire(engine),
        weightsBytes: memory.weights,
        kvBytes: memory.kvReserved,
        ...host.speed,
        ...(readingAhead && { readingAhead }),
      };
    }
    default:
      return state satisfies never;
  }
}

function imagesToWire({ imageTower, imageProblem }: Engine): ImageSupport {
  if (imageTower === null)
    return { available: false, ...(imageProblem !== null && { reason: imageProblem }) };
  return { available: true, tokens: imageTower.tokens, imageSize: imageTower.imageSize };
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** Null: no KV on disk. */
export function cacheFromWire(options: unknown): KvStoreSettings | null {
  const cache = isGiven(options) ? record(options, 'initializationOptions')['cache'] : undefined;
  if (!isGiven(cache)) return {};
  const { enabled, maxGigabytes, maxDays } = record(cache, 'cache');
  if (enabled === false) return null;
  return {
    ...(isGiven(maxGigabytes) && {
      maxGigabytes: clampInteger(maxGigabytes, 1, MAX_CACHE_GIGABYTES, 'cache.maxGigabytes'),
    }),
    ...(isGiven(maxDays) && { maxDays: clampInteger(maxDays, 1, MAX_CACHE_DAYS, 'cache.maxDays') }),
  };
}
