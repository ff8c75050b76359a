/**
 * Loads the native addon and gives its functions types. Handles are integers that the addon checks on every
 * call; no pointer and no external ArrayBuffer crosses the edge.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import {
  type ActivationPrecision,
  BackendError,
  type KvFormat,
  type OperationTime,
  OutOfMemory,
  type Pass,
  PassCancelled,
} from '../backend.ts';

/** Must equal kAbiVersion in addon.cc: an addon from another build is refused rather than misread. */
const ABI_VERSION = 8;

/** `MatrixFormat` of kernels.h, in its order. */
export const MATRIX_FORMATS = [
  'F32',
  'F16',
  'BF16',
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q8_0',
  'Q4_K',
  'Q5_K',
  'Q6_K',
] as const;

/** `KvFormat` of kernels.h, in its order. */
export const KV_FORMATS: readonly KvFormat[] = ['f16', 'int8', 'int4'];

/** `Precision` of engine.h, in its order. */
export const PRECISIONS: readonly ActivationPrecision[] = ['int8', 'bf16', 'f32'];

/** The addon's functions. All but the loaders and `submit` are synchronous; every one may throw (see {@link toBackendError}). */
export interface NativeAddon {
  readonly abiVersion: number;
  /** Instruction sets with kernels that this processor can run, best first. */
  isas(): string[];
  /** Threads for a machine of `cpus` processors that `folder` describes as /sys/devices/system/cpu would. */
  performanceCores(cpus: number, folder: string): number;
  /** `threads` 0: one for each physical performance core. `isa` '': the best. */
  createEngine(
    threads: number,
    isa: string,
    /** Index into {@link PRECISIONS}. */
    precision: number,
    niceness: number,
  ): { handle: number; isa: string; description: string; threads: number };
  disposeEngine(engine: number): void;
  loadMatrix(...weight: readonly [...NativeWeight, rounded: boolean]): Promise<number>;
  /** Makes some more of a matrix's shadow; true once it is whole. */
  growShadow(engine: number, matrix: number): Promise<boolean>;
  screening(engine: number): Screening;
  disposeMatrix(engine: number, matrix: number): void;
  disposeVector(engine: number, vector: number): void;
  loadVector(...weight: NativeWeight): Promise<number>;
  createActivation(engine: number, tokens: number, width: number): number;
  disposeActivation(engine: number, activation: number): void;
  createArena(
    engine: number,
    layers: number,
    kvHeads: number,
    headDim: number,
    pages: number,
    /** Index into {@link KV_FORMATS}. */
    format: number,
    bounded: 0 | 1,
  ): { handle: number; pageBytes: number };
  disposeArena(engine: number, arena: number): void;
  copyPage(engine: number, arena: number, from: number, to: number): void;
  readPage(engine: number, arena: number, page: number, target: Uint8Array): void;
  writePage(engine: number, arena: number, page: number, source: Uint8Array): void;
  boundPage(engine: number, arena: number, page: number): void;
  compressPage(engine: number, from: number, page: number, to: number, toPage: number): void;
  /** Runs the first `count` numbers of `words`, which are read before the call returns. */
  submit(engine: number, pass: number, words: Float64Array, count: number): Promise<void>;
  cancel(engine: number, pass: number): void;
  readBack(
    engine: number,
    activation: number,
    target: Float32Array,
    firstToken: number,
    tokens: number,
  ): void;
  upload(engine: number, activation: number, values: Float32Array, firstToken: number): void;
  /** Measures from the first call on. */
  profile(engine: number): OperationTime[];
  memory(engine: number): { weights: number; kvReserved: number; kvTouched: number; scratch: number };
}

/** What {@link Pass.topLogits} read so far: panels are 16 rows of a matrix, counted once a pass. */
export interface Screening {
  readonly passes: number;
  readonly panels: number;
  /** Those of them that were read exactly; all where there is no shadow. */
  readonly read: number;
}

/** engine, name, index into {@link MATRIX_FORMATS}, rows, columns, then a file's path and range, or the bytes and zeros. */
export type NativeWeight = readonly [
  engine: number,
  name: string,
  format: number,
  rows: number,
  columns: number,
  data: string | Uint8Array,
  fileSize: number,
  offset: number,
  byteLength: number,
];

/**
 * The addon for this machine: beside the bundle (`native/`), or in `dist/native` of a clone. The environment
 * variable GEMMA_SIDECAR_NATIVE names another file (a sanitizer build).
 *
 * @throws BackendError if there is none, or it does not load, or it belongs to another build.
 */
export function loadNative(): NativeAddon {
  const file = findAddon();
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(file) as NativeAddon;
  } catch (error) {
    throw new BackendError(`Cannot load the native engine ${file}: ${(error as Error).message}`);
  }
  if (addon.abiVersion !== ABI_VERSION) {
    throw new BackendError(
      `The native engine ${file} has version ${addon.abiVersion}, but version ${ABI_VERSION} is needed. ` +
        'Run `npm run build` again.',
    );
  }
  return addon;
}

let build: string | null = null;

/** A digest of the addon's own bytes: whatever changes in kernels or compiler changes it. */
export function nativeBuild(): string {
  build ??= createHash('sha256').update(readFileSync(findAddon())).digest('hex').slice(0, 16);
  return build;
}

function findAddon(): string {
  const named = process.env['GEMMA_SIDECAR_NATIVE'];
  if (named !== undefined && named !== '') return named;
  const platform = `${process.platform}-${process.arch}`;
  const candidates = [
    `./native/${platform}/engine.node`,
    `../native/${platform}/engine.node`,
    `../../../../dist/native/${platform}/engine.node`,
  ].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) {
    throw new BackendError(
      `There is no native engine for ${platform}. Run \`npm run build\`. Looked for ${candidates.join(', ')}.`,
    );
  }
  return found;
}

/** The backend's error for one that the addon threw; anything else is returned as it is. */
export function toBackendError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  switch (error.code) {
    case 'RANGE':
      return new RangeError(error.message);
    case 'OUT_OF_MEMORY':
      return new OutOfMemory(error.message);
    case 'CANCELLED':
      return new PassCancelled();
    case 'BACKEND':
    case 'INTERNAL':
      return new BackendError(error.message);
    default:
      return error;
  }
}

/** Calls into the addon, turning what it throws into the backend's errors. */
export function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toBackendError(error);
  }
}
