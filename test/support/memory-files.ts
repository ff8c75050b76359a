/** A file system in memory for the KV store: it can fail at a chosen call, and remembers what a power loss may leave. */
import path from 'node:path';
import type { StoreFile, StoreFiles } from '../../sidecar/engine/kv/store/files.ts';

interface Content {
  bytes: Buffer;
  /** Writes since the last sync, as [offset, bytes]. */
  unsynced: { readonly at: number; readonly bytes: Buffer }[];
  synced: Buffer;
  usedAt: number;
}

export class MemoryFiles implements StoreFiles {
  readonly contents = new Map<string, Content>();
  /** Called before every operation; what it throws is the operation's error. */
  before: (operation: string) => void = () => {};
  free = 2 ** 40;

  static of(files: ReadonlyMap<string, Buffer>): MemoryFiles {
    const made = new MemoryFiles();
    for (const [name, bytes] of files) {
      made.contents.set(name, { bytes, synced: bytes, unsynced: [], usedAt: Date.now() });
    }
    return made;
  }

  async open(name: string, flags: string): Promise<StoreFile> {
    this.before('open');
    const isFolder = [...this.contents.keys()].some((file) => path.dirname(file) === name);
    let content = this.contents.get(name);
    if (flags.startsWith('w')) {
      if (content) throw failure('EEXIST');
      content = { bytes: Buffer.alloc(0), synced: Buffer.alloc(0), unsynced: [], usedAt: Date.now() };
      this.contents.set(name, content);
    }
    if (!content && !isFolder) throw failure('ENOENT');
    const target = content ?? { bytes: Buffer.alloc(0), synced: Buffer.alloc(0), unsynced: [], usedAt: 0 };
    const sync = async (operation: string) => {
      this.before(operation);
      target.synced = Buffer.from(target.bytes);
      target.unsynced = [];
    };
    return {
      read: async (buffer, offset, length, position) => {
        this.before('read');
        const bytes = target.bytes.subarray(position, position + length);
        buffer.set(bytes, offset);
        return { bytesRead: bytes.length };
      },
      write: async (buffer, offset, length, position) => {
        this.before('write');
        const bytes = Buffer.from(buffer.subarray(offset, offset + length));
        target.bytes = written(target.bytes, position, bytes);
        target.unsynced.push({ at: position, bytes });
        return { bytesWritten: length };
      },
      datasync: () => sync('datasync'),
      sync: () => sync('sync'),
      close: async () => this.before('close'),
    };
  }

  async readdir(folder: string): Promise<string[]> {
    this.before('readdir');
    const below = [...this.contents.keys()].filter((name) => name.startsWith(`${folder}/`));
    return [...new Set(below.map((name) => name.slice(folder.length + 1).split('/')[0]!))];
  }
  async stat(name: string): Promise<{ size: number; mtimeMs: number }> {
    this.before('stat');
    const { bytes, usedAt } = this.#get(name);
    return { size: bytes.length, mtimeMs: usedAt };
  }
  async rename(from: string, to: string): Promise<void> {
    this.before('rename');
    this.contents.set(to, this.#get(from));
    this.contents.delete(from);
  }
  async unlink(name: string): Promise<void> {
    this.before('unlink');
    this.#get(name);
    this.contents.delete(name);
  }
  async mkdir(): Promise<undefined> {
    this.before('mkdir');
  }
  async utimes(name: string, _: Date, modified: Date): Promise<void> {
    this.before('utimes');
    this.#get(name).usedAt = modified.getTime();
  }
  async statfs(): Promise<{ bavail: number; bsize: number }> {
    this.before('statfs');
    return { bavail: this.free, bsize: 1 };
  }

  /** What may be on the disk after the power went: of each unsynced write, any 4 KiB pages, in any order. */
  afterPowerLoss(random: () => number): ReadonlyMap<string, Buffer> {
    const left = new Map<string, Buffer>();
    for (const [name, { synced, unsynced }] of this.contents) {
      let bytes: Buffer = synced;
      for (const { at, bytes: all } of unsynced) {
        for (let from = 0; from < all.length; ) {
          const end = Math.min(all.length, from + 4096 - ((at + from) % 4096));
          if (random() < 0.5) bytes = written(bytes, at + from, all.subarray(from, end));
          from = end;
        }
      }
      left.set(name, bytes);
    }
    return left;
  }

  #get(name: string): Content {
    const content = this.contents.get(name);
    if (!content) throw failure('ENOENT');
    return content;
  }
}

export function failure(code: string): Error {
  return Object.assign(new Error(`${code}: an injected error.`), { code });
}

function written(file: Buffer, at: number, bytes: Buffer): Buffer {
  const grown = Buffer.alloc(Math.max(file.length, at + bytes.length));
  file.copy(grown);
  bytes.copy(grown, at);
  return grown;
}
