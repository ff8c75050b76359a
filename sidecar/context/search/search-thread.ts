/** Hands what changed in a workspace to the thread that indexes it, and asks it for scores. */
import { Worker } from 'node:worker_threads';
import type { SourceFile } from '../files.ts';
import type { Query } from '../question.ts';
import { inSlices } from '../slices.ts';
import type { IndexedText } from './lexical-index.ts';

export type SearchRequest =
  | { readonly removed: readonly number[]; readonly added: readonly IndexedText[] }
  | { readonly query: Query };
export interface SearchReply {
  readonly scores: Float64Array<ArrayBuffer> | null;
}

/** Characters handed over at once: copying them takes a few milliseconds. */
const BATCH_CHARACTERS = 1_000_000;

export class SearchThread {
  private readonly file: string | null;
  private worker: Worker | null = null;
  private waiting: {
    readonly resolve: (reply: SearchReply) => void;
    readonly reject: (error: Error) => void;
  } | null = null;
  /** One search after another, since each first brings the index up to date. */
  private last: Promise<unknown> = Promise.resolve();
  private ids = new Map<SourceFile, number>();
  private free: number[] = [];

  /** `file` keeps the index for after a restart; null keeps it in memory alone. */
  constructor(file: string | null) {
    this.file = file;
  }

  /** A score for each of `files`, which are all there are now. Throws the signal's reason, or an Error where the thread ends. */
  scores(files: readonly SourceFile[], query: Query, signal?: AbortSignal): Promise<Float64Array> {
    const result = this.last.then(async () => {
      signal?.throwIfAborted();
      await this.update(files, signal);
      const { scores } = await this.ask({ query });
      const result = new Float64Array(files.length);
      const take = (file: SourceFile, i: number) => {
        result[i] = scores?.[this.ids.get(file)!] ?? 0;
      };
      await inSlices(files, take, signal);
      return result;
    });
    this.last = result.catch(() => {});
    return result;
  }

  private async update(files: readonly SourceFile[], signal: AbortSignal | undefined): Promise<void> {
    const { ids } = this;
    const fresh: SourceFile[] = [];
    const look = (file: SourceFile) => {
      if (!ids.has(file)) fresh.push(file);
    };
    await inSlices(files, look, signal);
    let removed: number[] = [];
    if (ids.size + fresh.length > files.length) {
      const now = new Set(files);
      for (const [file, id] of ids) {
        if (now.has(file)) continue;
        removed.push(id);
        ids.delete(file);
      }
      this.free.push(...removed);
    }
    let first = 0;
    while (first < fresh.length || removed.length > 0) {
      const added: IndexedText[] = [];
      let characters = 0;
      while (first < fresh.length && characters < BATCH_CHARACTERS) {
        const file = fresh[first++]!;
        const id = this.free.pop() ?? ids.size;
        ids.set(file, id);
        added.push({ id, path: file.path, text: file.text });
        characters += file.text.length;
      }
      await this.ask({ removed, added });
      signal?.throwIfAborted();
      removed = [];
    }
  }

  private ask(request: SearchRequest): Promise<SearchReply> {
    const worker = this.started();
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      // Only while somebody waits may the thread keep the process alive.
      worker.ref();
      worker.postMessage(request);
    });
  }

  private started(): Worker {
    if (this.worker) return this.worker;
    const name = import.meta.url.endsWith('.ts') ? './search-worker.ts' : './search-worker.js';
    const worker = new Worker(new URL(name, import.meta.url), { workerData: this.file });
    this.worker = worker;
    worker.on('message', (reply: SearchReply) => {
      const { waiting } = this;
      this.waiting = null;
      worker.unref();
      waiting?.resolve(reply);
    });
    worker.on('error', () => this.ended(worker));
    worker.on('exit', () => this.ended(worker));
    worker.unref();
    return worker;
  }

  /** The next search starts another, which knows of no text. */
  private ended(worker: Worker): void {
    if (this.worker !== worker) return;
    this.worker = null;
    this.ids = new Map();
    this.free = [];
    this.waiting?.reject(new Error('The thread that searches files has ended.'));
    this.waiting = null;
  }
}
