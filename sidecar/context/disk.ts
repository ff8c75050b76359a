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
  look(paths: readonly string[]): Promise<(Looked | null)[]>;
  read(items: readonly ReadItem[]): Promise<ReadResult[]>;
}

/** Refuses a link put in the file's place since it was looked at, and does not wait for a pipe's writer. */
export const READ_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

export const DIRECT_DISK: Disk = {
  look: (paths) =>
    Promise.all(
      paths.map((path) =>
        fs.lstat(path).then(
          (stats) => lookedOf(stats),
          () => null,
        ),
      ),
    ),
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
  | { readonly id: number; readonly look: readonly string[] }
  | { readonly id: number; readonly read: readonly ReadItem[] };
export interface DiskReply {
  readonly id: number;
  readonly result: (Looked | null)[] | ReadResult[];
}

/** A thread, for as long as it is used; one that ends fails what it was asked. */
export class ThreadDisk implements Disk {
  private readonly worker: Worker;
  private readonly waiting = new Map<
    number,
    { readonly resolve: (result: DiskReply['result']) => void; readonly reject: (error: Error) => void }
  >();
  private last = 0;
  private hasEnded = false;

  constructor() {
    const file = import.meta.url.endsWith('.ts') ? './disk-worker.ts' : './disk-worker.js';
    this.worker = new Worker(new URL(file, import.meta.url));
    this.worker.on('message', ({ id, result }: DiskReply) => {
      this.waiting.get(id)?.resolve(result);
      this.waiting.delete(id);
    });
    const ended = () => {
      this.hasEnded = true;
      for (const { reject } of this.waiting.values()) reject(threadEnded());
      this.waiting.clear();
    };
    this.worker.on('error', ended);
    this.worker.on('exit', ended);
  }

  async look(look: readonly string[]): Promise<(Looked | null)[]> {
    return (await this.ask({ id: ++this.last, look })) as (Looked | null)[];
  }

  async read(read: readonly ReadItem[]): Promise<ReadResult[]> {
    return (await this.ask({ id: ++this.last, read })) as ReadResult[];
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private ask(request: DiskRequest): Promise<DiskReply['result']> {
    if (this.hasEnded) return Promise.reject(threadEnded());
    return new Promise((resolve, reject) => {
      this.waiting.set(request.id, { resolve, reject });
      this.worker.postMessage(request);
    });
  }
}

function threadEnded(): Error {
  return new Error('The thread that reads files has ended.');
}
