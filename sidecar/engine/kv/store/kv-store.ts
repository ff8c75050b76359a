/**
 * Blocks of the KV cache on disk. Each process appends to segment files of its own, so that several windows share a folder
 * without a lock; whoever reads verifies every byte. Nothing here fails a request: what cannot be read is a miss, what cannot
 * be written is forgotten, said once, and tried again later.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { PAGE_POSITIONS } from '../../backend/backend.ts';
import type { LayerClass, PerClass } from '../layout.ts';
import { type BlockApproximation, blockKeys } from './block-key.ts';
import { NODE_FILES, type StoreFile, type StoreFiles } from './files.ts';
import { enforceLimits } from './limits.ts';
import {
  type BlockHeader,
  checkedPayload,
  decodeBlockHeader,
  decodeSegmentHeader,
  encodeRecord,
  encodeSegmentHeader,
  RECORD_HEADER_BYTES,
  recordStride,
  SEGMENT_HEADER_BYTES,
} from './segment.ts';

export interface KvStoreOptions {
  /** Made with mode 0700 if it is not there. Holds one folder for each model and way of computing. */
  readonly folder: string;
  /** All models together. */
  readonly mostBytes: number;
  /** Blocks that were not used for this long are deleted. */
  readonly mostAgeMs: number;
  /** Left free on the file system. */
  readonly reserveBytes?: number;
  /** After an error nothing is written for this long. */
  readonly retryMs?: number;
  readonly files?: StoreFiles;
  /** A sentence for a person, once for each time the store stops working. */
  readonly onNotice?: (sentence: string) => void;
}

export interface StoreIdentity {
  /** 32 bytes: equal only if the same tokens give the same bytes, as far as no approximation is read. */
  readonly fingerprint: Uint8Array;
  readonly approximation: BlockApproximation | null;
  readonly description: string;
  readonly pageBytes: PerClass<number>;
}

interface Place {
  readonly file: string;
  readonly offset: number;
}

interface Segment {
  readonly file: string;
  readonly kind: LayerClass;
  readonly handle: StoreFile;
  end: number;
}

export interface WantedBlock {
  readonly kind: LayerClass;
  readonly block: BlockHeader;
}

const SEGMENT_BYTES = 64 * 2 ** 20;
/** Blocks being read at once: enough to keep four threads and a disk's queue busy while another one is checked. */
const READS_AT_ONCE = 8;
/** Waiting for one header at a time would take longer than reading the blocks. */
const HEADERS_AT_ONCE = 64;
/** Blocks waiting to be written; more are forgotten. */
const MOST_WAITING_BYTES = 128 * 2 ** 20;
const RESERVE_BYTES = 2 ** 30;
const RETRY_MS = 30_000;
const LIMITS_EVERY_BYTES = 256 * 2 ** 20;

export class KvStore {
  readonly #options: KvStoreOptions;
  readonly #files: StoreFiles;
  readonly #identity: StoreIdentity;
  readonly #folder: string;
  readonly #index: PerClass<Map<string, Place>> = { local: new Map(), global: new Map() };
  /** Global blocks by the key of the block before them, to say where a prompt differs from an earlier one. */
  readonly #children = new Map<string, Set<string>>();
  /** How far each file has been scanned. */
  readonly #scanned = new Map<string, { readonly kind: LayerClass; end: number }>();
  readonly #own = new Map<LayerClass, Segment>();
  readonly #touched = new Set<string>();
  #queue: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  #sinceLimits = Number.POSITIVE_INFINITY;
  #offUntil = 0;
  #closed = false;

  constructor(options: KvStoreOptions, identity: StoreIdentity) {
    this.#options = options;
    this.#files = options.files ?? NODE_FILES;
    this.#identity = identity;
    this.#folder = path.join(options.folder, Buffer.from(identity.fingerprint).toString('hex', 0, 16));
  }

  get rootKey(): Uint8Array {
    return this.#identity.fingerprint;
  }

  keys(ids: Uint32Array, known?: readonly string[]): string[] {
    const { fingerprint, approximation } = this.#identity;
    return blockKeys(fingerprint, ids, approximation, known);
  }

  has(kind: LayerClass, key: string): boolean {
    return this.#index[kind].has(key);
  }

  /** Finds what other processes have written. Never throws. */
  async refresh(): Promise<void> {
    let names: string[];
    try {
      names = await this.#files.readdir(this.#folder);
    } catch {
      return;
    }
    const present = new Set(names);
    for (const file of [...this.#scanned.keys()]) if (!present.has(file)) this.#forgetFile(file);
    for (const name of names) {
      if (name.endsWith('.kv')) await this.#scan(name).catch(() => this.#forgetFile(name));
    }
  }

  /**
   * Hands over every wanted block, in any order, once all its bytes are checked; `payload` is valid during the call only. Ends
   * at the first miss, or when `signal` fires, with false. Rejects only with what `use` throws.
   */
  async read(
    wanted: readonly WantedBlock[],
    use: (payload: Buffer, index: number) => void,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const handles = new Map<string, Promise<StoreFile>>();
    const open = (file: string) => {
      const known = handles.get(file);
      if (known) return known;
      const opening = this.#files.open(path.join(this.#folder, file), 'r');
      handles.set(file, opening);
      return opening;
    };
    let next = 0;
    let complete = true;
    const reader = async () => {
      // One buffer for all blocks: fresh memory costs more than reading into it.
      let buffer = Buffer.alloc(0);
      while (next < wanted.length && complete && !signal?.aborted) {
        const index = next++;
        const { kind, block } = wanted[index]!;
        const bytes = RECORD_HEADER_BYTES + this.#identity.pageBytes[kind];
        if (buffer.length < bytes) buffer = Buffer.allocUnsafeSlow(bytes);
        const payload = await this.#readBlock(kind, block, buffer.subarray(0, bytes), open);
        if (payload === null) complete = false;
        else if (complete && !signal?.aborted) use(payload, index);
      }
    };
    try {
      const results = await Promise.allSettled(Array.from({ length: READS_AT_ONCE }, reader));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    } finally {
      for (const handle of handles.values()) await handle.then((file) => file.close()).catch(() => {});
    }
    return complete && !signal?.aborted;
  }

  /** The block's payload within `record`, or null for a miss, which is forgotten. */
  async #readBlock(
    kind: LayerClass,
    block: BlockHeader,
    record: Buffer,
    open: (file: string) => Promise<StoreFile>,
  ): Promise<Buffer | null> {
    const place = this.#index[kind].get(block.key);
    if (place === undefined) return null;
    try {
      const read = await readInto(await open(place.file), place.offset, record);
      const payload = checkedPayload(record.subarray(0, read), block, this.#identity.pageBytes[kind]);
      if (payload !== null) {
        this.#touched.add(place.file);
        return payload;
      }
      await this.#strike(place);
    } catch {
      // Gone or unreadable: as if it had never been there.
    }
    this.#index[kind].delete(block.key);
    return null;
  }

  /**
   * The token that earlier prompts had at the first position of block `index` where `ids` (the rest of a prompt after the
   * blocks up to `parent`) differ from all of them; null if none went on from there.
   */
  async divergence(parent: string, ids: Uint32Array): Promise<{ offset: number; id: number } | null> {
    let best: { offset: number; id: number } | null = null;
    for (const key of [...(this.#children.get(parent) ?? [])].slice(-8)) {
      const place = this.#index.global.get(key);
      if (place === undefined) continue;
      try {
        const header = decodeBlockHeader(
          await this.#readAt(place, RECORD_HEADER_BYTES),
          this.#identity.pageBytes.global,
        );
        if (header === null || header.parent !== parent) continue;
        let offset = 0;
        while (offset < PAGE_POSITIONS && header.ids[offset] === ids[offset]) offset++;
        if (offset < PAGE_POSITIONS && offset < ids.length && offset >= (best?.offset ?? 0)) {
          best = { offset, id: header.ids[offset]! };
        }
      } catch {
        // Only an explanation is lost.
      }
    }
    return best;
  }

  /** Whether one more block may wait; false while the disk is slow or the store is off. */
  get accepts(): boolean {
    return !this.#closed && this.#waitingBytes < MOST_WAITING_BYTES && Date.now() >= this.#offUntil;
  }

  /** Writes in the background. `payload` is the store's from now on. */
  write(kind: LayerClass, block: BlockHeader, payload: Uint8Array): void {
    if (!this.accepts || this.has(kind, block.key)) return;
    this.#waitingBytes += payload.length;
    this.#queue = this.#queue.then(async () => {
      try {
        if (Date.now() >= this.#offUntil && !this.has(kind, block.key)) {
          await this.#append(kind, block, payload);
        }
      } catch (error) {
        this.#switchOff(error);
      } finally {
        this.#waitingBytes -= payload.length;
      }
    });
  }

  /** Resolves when everything accepted so far is on disk, or given up. */
  flush(): Promise<void> {
    this.#queue = this.#queue.then(async () => {
      for (const { handle } of this.#own.values()) await handle.datasync().catch(() => {});
      await this.#touch();
    });
    return this.#queue;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
    for (const { handle } of this.#own.values()) await handle.close().catch(() => {});
    this.#own.clear();
  }

  async #scan(name: string): Promise<void> {
    const { size } = await this.#files.stat(path.join(this.#folder, name));
    let known = this.#scanned.get(name);
    if (known && size <= known.end) return;
    const handle = await this.#files.open(path.join(this.#folder, name), 'r');
    try {
      if (known === undefined) {
        const header = decodeSegmentHeader(await readFully(handle, 0, SEGMENT_HEADER_BYTES));
        const mine =
          header !== null &&
          header.payloadBytes === this.#identity.pageBytes[header.kind] &&
          Buffer.from(header.fingerprint).equals(this.#identity.fingerprint);
        if (!mine) {
          // Segments appear under their name with a whole header: this one is damaged or of another model or version.
          await this.#files.unlink(path.join(this.#folder, name)).catch(() => {});
          return;
        }
        known = { kind: header.kind, end: SEGMENT_HEADER_BYTES };
        this.#scanned.set(name, known);
      }
      const payloadBytes = this.#identity.pageBytes[known.kind];
      const stride = recordStride(payloadBytes);
      while (known.end + stride <= size) {
        const records = Math.min(HEADERS_AT_ONCE, Math.floor((size - known.end) / stride));
        const offsets = Array.from({ length: records }, (_, i) => known!.end + i * stride);
        const headers = await Promise.all(
          offsets.map((offset) => readFully(handle, offset, RECORD_HEADER_BYTES)),
        );
        for (const [i, bytes] of headers.entries()) {
          const header = decodeBlockHeader(bytes, payloadBytes);
          if (header !== null) this.#remember(known.kind, header, { file: name, offset: offsets[i]! });
        }
        known.end += records * stride;
      }
    } finally {
      await handle.close();
    }
  }

  #remember(kind: LayerClass, { key, parent }: BlockHeader, place: Place): void {
    this.#index[kind].set(key, place);
    if (kind !== 'global') return;
    const siblings = this.#children.get(parent);
    if (siblings) siblings.add(key);
    else this.#children.set(parent, new Set([key]));
  }

  #forgetFile(file: string): void {
    this.#scanned.delete(file);
    for (const index of Object.values(this.#index)) {
      for (const [key, place] of index) if (place.file === file) index.delete(key);
    }
  }

  async #readAt({ file, offset }: Place, bytes: number): Promise<Buffer> {
    const handle = await this.#files.open(path.join(this.#folder, file), 'r');
    try {
      return await readFully(handle, offset, bytes);
    } finally {
      await handle.close();
    }
  }

  /** Deletes a damaged record: without its magic number nobody looks at it again. */
  async #strike({ file, offset }: Place): Promise<void> {
    const handle = await this.#files.open(path.join(this.#folder, file), 'r+');
    try {
      await handle.write(Buffer.alloc(4), 0, 4, offset);
    } finally {
      await handle.close();
    }
  }

  async #append(kind: LayerClass, block: BlockHeader, payload: Uint8Array): Promise<void> {
    const record = encodeRecord(block, payload);
    await this.#makeRoom(record.length);
    const segment = await this.#segmentFor(kind, record.length);
    await writeFully(segment.handle, record, segment.end);
    this.#remember(kind, block, { file: segment.file, offset: segment.end });
    segment.end += record.length;
    this.#scanned.set(segment.file, { kind, end: segment.end });
    this.#sinceLimits += record.length;
  }

  async #segmentFor(kind: LayerClass, bytes: number): Promise<Segment> {
    const open = this.#own.get(kind);
    if (open && open.end + bytes <= SEGMENT_BYTES) {
      // Another process may have deleted it, to keep the size limit or on command.
      const there = await this.#files.stat(path.join(this.#folder, open.file)).then(
        () => true,
        () => false,
      );
      if (there) return open;
      this.#forgetFile(open.file);
    }
    if (open) {
      this.#own.delete(kind);
      await open.handle.datasync();
      await open.handle.close();
    }
    const segment = await this.#create(kind);
    this.#own.set(kind, segment);
    return segment;
  }

  /** A segment with its header whole before anybody sees its name. */
  async #create(kind: LayerClass): Promise<Segment> {
    await this.#files.mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = `${kind}-${process.pid}-${randomBytes(8).toString('hex')}.kv`;
    const name = path.join(this.#folder, file);
    const handle = await this.#files.open(`${name}.new`, 'wx+', 0o600);
    try {
      const { fingerprint, description, pageBytes } = this.#identity;
      const header = encodeSegmentHeader({ kind, payloadBytes: pageBytes[kind], fingerprint, description });
      await writeFully(handle, header, 0);
      await handle.datasync();
      await this.#files.rename(`${name}.new`, name);
      await this.#syncFolder();
    } catch (error) {
      await handle.close().catch(() => {});
      await this.#files.unlink(`${name}.new`).catch(() => {});
      throw error;
    }
    return { file, kind, handle, end: SEGMENT_HEADER_BYTES };
  }

  async #syncFolder(): Promise<void> {
    // Windows cannot open a folder; there the rename itself is journalled.
    if (process.platform === 'win32') return;
    const folder = await this.#files.open(this.#folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  async #makeRoom(bytes: number): Promise<void> {
    if (this.#sinceLimits >= Math.min(LIMITS_EVERY_BYTES, this.#options.mostBytes / 8)) {
      this.#sinceLimits = 0;
      await this.#files.mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
      await this.#touch();
      await enforceLimits(this.#options, this.#files);
      const { bavail, bsize } = await this.#files.statfs(this.#options.folder);
      if (bavail * bsize < bytes + (this.#options.reserveBytes ?? RESERVE_BYTES)) {
        this.#sinceLimits = Number.POSITIVE_INFINITY;
        throw new DiskFull();
      }
    }
  }

  /** Files that were read count as used now. */
  async #touch(): Promise<void> {
    const now = new Date();
    for (const file of this.#touched) {
      await this.#files.utimes(path.join(this.#folder, file), now, now).catch(() => {});
    }
    this.#touched.clear();
  }

  #switchOff(error: unknown): void {
    const first = this.#offUntil === 0;
    this.#offUntil = Date.now() + (this.#options.retryMs ?? RETRY_MS);
    for (const { handle } of this.#own.values()) void handle.close().catch(() => {});
    this.#own.clear();
    if (!first) return;
    const why = error instanceof Error ? error.message : String(error);
    this.#options.onNotice?.(
      `What was read is not kept on disk for now: ${why} It will be tried again; answers are not affected.`,
    );
  }
}

class DiskFull extends Error {
  constructor() {
    super('less than the space to be left free remains on the disk.');
  }
}

async function readFully(handle: StoreFile, offset: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes);
  return buffer.subarray(0, await readInto(handle, offset, buffer));
}

/** Fills `buffer`, or what of it the file has; returns the bytes read. */
async function readInto(handle: StoreFile, offset: number, buffer: Buffer): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

async function writeFully(handle: StoreFile, bytes: Buffer, offset: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}
