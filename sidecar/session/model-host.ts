/** The one model of this process: loaded in the background, replaced on request, handed to every session. */
import type { Engine, EngineOptions } from '../engine/engine.ts';
import { unlessAborted } from '../engine/unless-aborted.ts';

export type LoadEngine = (options: EngineOptions) => Promise<Engine>;

export type ModelState =
  | { readonly kind: 'none'; readonly reason: string }
  | { readonly kind: 'loading'; readonly progress: number; readonly path: string }
  | { readonly kind: 'ready'; readonly engine: Engine }
  | { readonly kind: 'failed'; readonly path: string; readonly error: ModelLoadError };

/** No model was chosen and the built-in one is not there. */
export class NoModelError extends Error {
  override readonly name = 'NoModelError';
}

/** The chosen model did not load; the message is a sentence for a person. */
export class ModelLoadError extends Error {
  override readonly name = 'ModelLoadError';

  constructor(path: string, cause: unknown) {
    super(loadFailure(path, cause), { cause });
  }
}

function loadFailure(path: string, cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  switch ('code' in cause ? cause.code : undefined) {
    case 'ENOENT':
      return `The model file ${path} does not exist. Choose another one.`;
    case 'EACCES':
    case 'EPERM':
      return `The model file ${path} cannot be read: permission is denied.`;
    case 'EISDIR':
      return `${path} is a folder, not a model file. Choose a Gemma 3 model file (GGUF).`;
    default:
      return cause.message;
  }
}

export interface MeasuredSpeed {
  readonly prefillTokensPerSecond?: number;
  readonly decodeTokensPerSecond?: number;
}

export interface ModelSettings {
  /** The image tower, where it is a file of its own. */
  readonly mmprojPath?: string;
  readonly contextLength?: number;
  readonly threads?: number;
  readonly kvFormat?: 'auto' | 'f16' | 'int8' | 'int4';
  readonly sparsePositions?: number;
  readonly backend?: 'auto' | 'cpu' | 'gpu';
  readonly store?: NonNullable<EngineOptions['store']> | null;
}

/** Below this many tokens a measurement says little about speed. */
const ENOUGH_TO_MEASURE = 8;

export class ModelHost {
  private readonly load: LoadEngine;
  private readonly listeners = new Set<() => void>();
  private current: ModelState = { kind: 'none', reason: 'No model has been chosen yet.' };
  private loading: {
    readonly path: string;
    readonly promise: Promise<Engine>;
    readonly abort: AbortController;
  } | null = null;
  private measured: MeasuredSpeed = {};
  private running = 0;
  /** What runs aside: nobody waits for it. */
  private aside = 0;
  /** Fires for everything that uses the model when that model is about to go. */
  private going = new AbortController();
  private whenIdle: (() => void)[] = [];
  private readonly notices = new Set<string>();

  constructor(load: LoadEngine) {
    this.load = load;
  }

  get state(): ModelState {
    return this.current;
  }
  get speed(): MeasuredSpeed {
    return this.measured;
  }
  get busy(): boolean {
    return this.running > 0;
  }

  /** Called after every change of state, speed or busyness. */
  onChange(listener: () => void): void {
    this.listeners.add(listener);
  }

  /** States that there is nothing to load, in a sentence for a person. */
  setNone(reason: string): void {
    void this.unload();
    this.set({ kind: 'none', reason });
  }

  /** Starts loading; a model already there or under way is dropped first. Failures are kept in `state`. */
  async select(path: string, settings: ModelSettings): Promise<void> {
    const unloaded = this.unload();
    const abort = new AbortController();
    this.measured = {};
    this.set({ kind: 'loading', progress: 0, path });
    const promise = unloaded.then(() =>
      this.load({
        modelPath: path,
        ...settings,
        signal: abort.signal,
        onProgress: (fraction) => {
          if (!abort.signal.aborted) this.set({ kind: 'loading', progress: fraction, path });
        },
      }),
    );
    this.loading = { path, promise, abort };
    try {
      const engine = await promise;
      if (abort.signal.aborted) await engine.dispose();
      else this.set({ kind: 'ready', engine });
    } catch (error) {
      if (!abort.signal.aborted) this.set({ kind: 'failed', path, error: new ModelLoadError(path, error) });
    }
  }

  /** Keeps a sentence for a person until an answer takes it along. */
  notice(sentence: string): void {
    this.notices.add(sentence);
  }

  takeNotices(): readonly string[] {
    const taken = [...this.notices];
    this.notices.clear();
    return taken;
  }

  /** The model, awaited while it loads. Throws why there is none. */
  async engine(): Promise<Engine> {
    if (this.current.kind === 'none') throw new NoModelError(this.current.reason);
    if (this.current.kind === 'ready') return this.current.engine;
    if (this.current.kind === 'failed') throw this.current.error;
    const awaited = this.loading;
    if (!awaited) throw new NoModelError('No model has been chosen yet.');
    try {
      return await awaited.promise;
    } catch (error) {
      // Another model may have been chosen meanwhile.
      if (this.loading !== awaited && this.loading !== null) return this.engine();
      throw new ModelLoadError(awaited.path, error);
    }
  }

  /**
   * Waits for the model, and marks it busy while `work` runs. The signal it is given fires with `signal`, and when another
   * model is chosen: a model is disposed of only once nothing uses it. Work 'aside' does not make it busy.
   */
  async use<T>(
    signal: AbortSignal,
    work: (engine: Engine, signal: AbortSignal) => Promise<T>,
    how: 'waited-for' | 'aside' = 'waited-for',
  ): Promise<T> {
    const engine = await unlessAborted(this.engine(), signal);
    const either = AbortSignal.any([signal, this.going.signal]);
    const aside = how === 'aside';
    if (aside) this.aside++;
    else if (++this.running === 1) this.changed();
    try {
      return await work(engine, either);
    } finally {
      if (aside) this.aside--;
      else this.running--;
      if (this.running + this.aside === 0) for (const resolve of this.whenIdle.splice(0)) resolve();
      if (!aside && this.running === 0) this.changed();
    }
  }

  /** Keeps the speed of a finished run. */
  measure(run: { prefilled: number; prefillMs: number; generated: number; decodeMs: number }): void {
    const rate = (tokens: number, ms: number) =>
      tokens >= ENOUGH_TO_MEASURE && ms > 0 ? (1000 * tokens) / ms : undefined;
    const prefill = rate(run.prefilled, run.prefillMs);
    const decode = rate(run.generated, run.decodeMs);
    this.measured = {
      ...this.measured,
      ...(prefill !== undefined && { prefillTokensPerSecond: prefill }),
      ...(decode !== undefined && { decodeTokensPerSecond: decode }),
    };
    this.changed();
  }

  private async unload(): Promise<void> {
    this.loading?.abort.abort();
    this.loading = null;
    if (this.current.kind !== 'ready') return;
    const { engine } = this.current;
    this.going.abort();
    this.going = new AbortController();
    if (this.running + this.aside > 0) await new Promise<void>((resolve) => this.whenIdle.push(resolve));
    await engine.dispose();
  }

  private set(state: ModelState): void {
    this.current = state;
    this.changed();
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}
