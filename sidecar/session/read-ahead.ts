/**
 * Reads what the next question will begin with while nobody waits for anything: the repository when it is opened, and after an
 * edit what no longer holds. Whatever somebody waits for comes first; what was read by then is kept.
 */
import type { Engine } from '../engine/engine.ts';
import type { ModelHost } from './model-host.ts';

/** Tokens read, of those that the next question will begin with. */
export interface AheadProgress {
  readonly done: number;
  readonly total: number;
}

export interface AheadRequest {
  readonly engine: Engine;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: AheadProgress) => void;
}

/** Editing and asking come in bursts. */
const QUIET_MS = 1500;

export class ReadAhead {
  private readonly host: ModelHost;
  private readonly read: (request: AheadRequest) => Promise<void>;
  private readonly onError: (error: unknown) => void;
  private readonly listeners = new Set<() => void>();
  private enabled = false;
  /** Something may have changed since the last reading ended. */
  private due = true;
  private engine: Engine | null = null;
  private timer: NodeJS.Timeout | null = null;
  private running: AbortController | null = null;
  private current: AheadProgress | null = null;

  /** `read` ends without an error when its signal fires. */
  constructor(
    host: ModelHost,
    read: (request: AheadRequest) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.host = host;
    this.read = read;
    this.onError = onError;
  }

  /** Null while nothing is being read. */
  get progress(): AheadProgress | null {
    return this.current;
  }

  /** Called after every change of `progress`. */
  onChange(listener: () => void): void {
    this.listeners.add(listener);
  }

  start(): void {
    this.enabled = true;
    this.host.onChange(() => this.look());
    this.look();
  }

  /** Files, or what a person chose of them, may have changed. What is being read is read to its end first. */
  touch(): void {
    this.due = true;
    if (this.timer === null) this.schedule();
  }

  /** The person is at work: what is being read goes on later. */
  interrupt(): void {
    this.due = true;
    this.running?.abort();
    this.schedule();
  }

  private look(): void {
    const { state, busy } = this.host;
    if (state.kind === 'ready' && state.engine !== this.engine) {
      this.engine = state.engine;
      this.due = true;
    }
    if (busy) this.running?.abort();
    this.schedule();
  }

  /** A while after the last call of this, if there is something to do by then. */
  private schedule(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const ready = this.host.state.kind === 'ready' && !this.host.busy;
    if (!this.enabled || !this.due || !ready || this.running !== null) return;
    this.timer = setTimeout(() => void this.run(), QUIET_MS);
    // A process that has nothing else to do may end.
    this.timer.unref();
  }

  private async run(): Promise<void> {
    this.timer = null;
    const running = new AbortController();
    this.running = running;
    this.due = false;
    try {
      await this.host.use(
        running.signal,
        (engine, signal) => this.read({ engine, signal, onProgress: (progress) => this.set(progress) }),
        'aside',
      );
    } catch (error) {
      const stopped = error instanceof Error && error.name === 'AbortError';
      if (!running.signal.aborted && !stopped) this.onError(error);
    } finally {
      this.running = null;
      if (running.signal.aborted) this.due = true;
      this.set(null);
      this.schedule();
    }
  }

  private set(progress: AheadProgress | null): void {
    this.current = progress;
    for (const listener of this.listeners) listener();
  }
}
