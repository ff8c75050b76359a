/** Hands texts to the thread that parses them, so that nothing else waits for it. */
import { Worker } from 'node:worker_threads';
import { type FileSymbols, NO_SYMBOLS } from './extract.ts';

export interface ParseRequest {
  readonly id: number;
  readonly path: string;
  readonly text: string;
}
export interface ParseReply {
  readonly id: number;
  readonly symbols: FileSymbols;
}

export class SymbolParser {
  private worker: Worker | null = null;
  private readonly waiting = new Map<number, (symbols: FileSymbols) => void>();
  private last = 0;

  /** Never fails: a thread that ends gives no symbols, and the next text starts another. */
  parse(path: string, text: string): Promise<FileSymbols> {
    const worker = this.started();
    const id = ++this.last;
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      // Only while somebody waits may the thread keep the process alive.
      worker.ref();
      worker.postMessage({ id, path, text } satisfies ParseRequest);
    });
  }

  private started(): Worker {
    if (this.worker) return this.worker;
    const file = import.meta.url.endsWith('.ts') ? './symbols-worker.ts' : './symbols-worker.js';
    const worker = new Worker(new URL(file, import.meta.url));
    this.worker = worker;
    worker.on('message', ({ id, symbols }: ParseReply) => {
      this.waiting.get(id)?.(symbols);
      this.waiting.delete(id);
      if (this.waiting.size === 0) worker.unref();
    });
    worker.on('error', () => this.ended(worker));
    worker.on('exit', () => this.ended(worker));
    worker.unref();
    return worker;
  }

  private ended(worker: Worker): void {
    if (this.worker !== worker) return;
    this.worker = null;
    for (const resolve of this.waiting.values()) resolve(NO_SYMBOLS);
    this.waiting.clear();
  }
}
