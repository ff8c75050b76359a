/**
 * Looks at and reads files: some at a time without a thread of its own, or many on one, where calls that wait are several times
 * cheaper and keep nobody waiting.
 */
import { type BigIntStats, constants, promises as fs, type Stats } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { type LeftOutReason, textOrReason } from './belongs.ts';

/** What lies at a path; null where nothing can be seen. */
export interface Looked {
  readonly kind: 'file' | 'folder' | 'other';
  readonly bytes: number;
  readonly mtimeMs: number;
}

export interface ReadItem {
  readonly path: string;
  readonly pinned: boolean;
}

export type ReadResult = { readonly text: string } | { readonly reason: LeftOutReason };

export interface Disk {
  /** Links are not followed. */
  look(paths: readonly string[]): Promise<LookedMany>;
  read(items: readonly ReadItem[]): Promise<ReadResult[]>;
}

const KINDS = [null, 'file', 'folder', 'other'] as const;

/** What lies at many paths, as numbers that a thread hands over without copying. */
export class LookedMany {
  /** Kind, bytes and time of each path. */
  readonly numbers: Float64Array<ArrayBuffer>;

  constructor(numbers: Float64Array<ArrayBuffer>) {
    this.numbers = numbers;
  }

  static of(looked: readonly (Looked | null)[]): LookedMany {
    const numbers = new Float64Array(3 * looked.length);
    for (const [i, entry] of looked.entries()) {
      if (entry) numbers.set([KINDS.indexOf(entry.kind), entry.bytes, entry.mtimeMs], 3 * i);
    }
    return new LookedMany(numbers);
  }

  at(index: number): Looked | null {
    const kind = KINDS[this.numbers[3 * index]!];
    return kind ? { kind, bytes: this.numbers[3 * index + 1]!, mtimeMs: this.numbers[3 * index + 2]! } : null;
  }
}

/** Refuses a link put in the file's place since it was looked at, and does not wait for a pipe's writer. */
export const READ_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

export const DIRECT_DISK: Disk = {
  look: async (paths) => {
    const looked = await Promise.all(
      paths.map((path) =>
        fs.lstat(path).then(
          (stats) => lookedOf(stats),
          () => null,
        ),
      ),
    );
    return LookedMany.of(looked);
  },
  read: (items) =>
    Promise.all(
      items.map(async ({ path, pinned }): Promise<ReadResult> => {
        try {
          const handle = await fs.open(path, READ_FLAGS);
          const content = await handle.readFile().finally(() => handle.close());
          return textOrReason(content, pinned);
        } catch {
          return { reason: 'unreadable' };
        }
      }),
    ),
};

export function lookedOf(stats: Exclude<Stats, BigIntStats>): Looked {
  const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other';
  return { kind, bytes: stats.size, mtimeMs: stats.mtimeMs };
}

export type DiskRequest =
  /** 'again': at the paths that were looked at last. */
  | { readonly id: number; readonly look: readonly string[] | 'again' }
  | { readonly id: number; readonly read: readonly ReadItem[] };
export interface DiskReply {
  readonly id: number;
  readonly result: Float64Array<ArrayBuffer> | ReadResult[];
}

/** A thread; once it has ended, whatever it is asked fails. */
export class ThreadDisk implements Disk {
  private readonly worker: Worker;
  private readonly waiting = new Map<
    number,
    { readonly resolve: (result: DiskReply['result']) => void; readonly reject: (error: Error) => void }
  >();
  private last = 0;
  private lookedAt: readonly string[] | null = null;
  private hasEnded = false;

  constructor() {
    const file = import.meta.url.endsWith('.ts') ? './disk-worker.ts' : './disk-worker.js';
    this.worker = new Worker(new URL(file, import.meta.url));
    this.worker.on('message', ({ id, result }: DiskReply) => {
      this.waiting.get(id)?.resolve(result);
      this.waiting.delete(id);
      if (this.waiting.size === 0) this.worker.unref();
    });
    const ended = () => {
      this.hasEnded = true;
      for (const { reject } of this.waiting.values()) reject(threadEnded());
      this.waiting.clear();
    };
    this.worker.on('error', ended);
    this.worker.on('exit', ended);
    this.worker.unref();
  }

  /** Handing over the paths takes as long as looking: the same array is not handed over again. */
  async look(paths: readonly string[]): Promise<LookedMany> {
    const look = paths === this.lookedAt ? 'again' : paths;
    this.lookedAt = paths;
    return new LookedMany((await this.ask({ id: ++this.last, look })) as Float64Array<ArrayBuffer>);
  }

  async read(read: readonly ReadItem[]): Promise<ReadResult[]> {
    return (await this.ask({ id: ++this.last, read })) as ReadResult[];
  }

  get ended(): boolean {
    return this.hasEnded;
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private ask(request: DiskRequest): Promise<DiskReply['result']> {
    if (this.hasEnded) return Promise.reject(threadEnded());
    return new Promise((resolve, reject) => {
      this.waiting.set(request.id, { resolve, reject });
      // Only while somebody waits may the thread keep the process alive.
      this.worker.ref();
      this.worker.postMessage(request);
    });
  }
}

function threadEnded(): Error {
  return new Error('The thread that reads files has ended.');
}
