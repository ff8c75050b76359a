/** Pages of one arena, shared between sequences by counting references. */
import type { KvArena } from '../backend/backend.ts';

export class PagePool {
  readonly arena: KvArena;
  readonly #references: Uint16Array;
  /** 1 for pages whose keys have bounds. */
  readonly #bounded: Uint8Array;
  /** Free pages, the next to be handed out last; low numbers first, so that memory is touched as it is needed. */
  readonly #free: number[];

  constructor(arena: KvArena) {
    this.arena = arena;
    this.#references = new Uint16Array(arena.pages);
    this.#bounded = new Uint8Array(arena.pages);
    this.#free = Array.from({ length: arena.pages }, (_, i) => arena.pages - 1 - i);
  }

  get inUse(): number {
    return this.arena.pages - this.#free.length;
  }

  /** A page of one's own, or null if none is free. Its content is whatever it was. */
  take(): number | null {
    const page = this.#free.pop();
    if (page === undefined) return null;
    this.#references[page] = 1;
    this.#bounded[page] = 0;
    return page;
  }

  /** Bounds the keys of a page that is complete, unless that was done before. */
  bound(page: number): void {
    if (this.#bounded[page] === 1) return;
    this.arena.boundPage(page);
    this.#bounded[page] = 1;
  }

  share(page: number): number {
    this.#references[page]!++;
    return page;
  }

  /** How many hold it. */
  references(page: number): number {
    return this.#references[page]!;
  }

  isShared(page: number): boolean {
    return this.#references[page]! > 1;
  }

  release(page: number): void {
    if (this.#references[page] === 0) throw new RangeError(`KV page ${page} was released once too often.`);
    this.#references[page]!--;
    if (this.#references[page] === 0) this.#free.push(page);
  }
}
