/** Size and age of a store, over all models: what it holds, what goes first, and clearing it. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { PAGE_POSITIONS } from '../../backend/backend.ts';
import { NODE_FILES, type StoreFiles } from './files.ts';
import {
  checkedPayload,
  decodeBlockHeader,
  decodeSegmentHeader,
  RECORD_HEADER_BYTES,
  recordStride,
  SEGMENT_HEADER_BYTES,
} from './segment.ts';

/** Eviction goes on to this share of the limit, so that it is not needed for every block. */
const AFTER_EVICTION = 0.9;
/** A file under a temporary name older than this belongs to a process that has died. */
const LEFTOVER_MS = 60_000;

interface SegmentFile {
  readonly file: string;
  readonly bytes: number;
  readonly usedAt: number;
}

/** Deletes what is too old, then whole segments used longest ago until the store is within its size. */
export async function enforceLimits(
  {
    folder,
    mostBytes,
    mostAgeMs,
  }: { readonly folder: string; readonly mostBytes: number; readonly mostAgeMs: number },
  files: StoreFiles,
): Promise<void> {
  const segments = (await segmentFiles(folder, files)).sort((a, b) => a.usedAt - b.usedAt);
  let total = segments.reduce((sum, { bytes }) => sum + bytes, 0);
  const tooMuch = total > mostBytes;
  const now = Date.now();
  for (const { file, bytes, usedAt } of segments) {
    const age = now - usedAt;
    const old = age > mostAgeMs || (file.endsWith('.new') && age > LEFTOVER_MS);
    if (!old && !(tooMuch && total > AFTER_EVICTION * mostBytes)) continue;
    await files.unlink(file).catch(() => {});
    total -= bytes;
  }
}

export interface StoreReport {
  readonly folder: string;
  readonly bytes: number;
  readonly segments: number;
  readonly models: readonly {
    readonly description: string;
    /** Positions whose global layers are held. */
    readonly tokens: number;
    readonly bytes: number;
    /** Milliseconds since 1970. */
    readonly lastUsed: number;
  }[];
}

/** Reads headers only; a folder that is not there holds nothing. */
export async function reportStore(folder: string): Promise<StoreReport> {
  const models = new Map<string, { description: string; tokens: number; bytes: number; lastUsed: number }>();
  const segments = await segmentFiles(folder, NODE_FILES);
  for (const { file, bytes, usedAt } of segments) {
    const key = path.dirname(file);
    const model = models.get(key) ?? { description: 'unknown', tokens: 0, bytes: 0, lastUsed: 0 };
    const header = await readHeader(file);
    if (header !== null) {
      model.description = header.description;
      const records = Math.floor((bytes - SEGMENT_HEADER_BYTES) / recordStride(header.payloadBytes));
      if (header.kind === 'global') model.tokens += records * PAGE_POSITIONS;
    }
    model.bytes += bytes;
    model.lastUsed = Math.max(model.lastUsed, usedAt);
    models.set(key, model);
  }
  return {
    folder,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    segments: segments.length,
    models: [...models.values()].sort((a, b) => b.lastUsed - a.lastUsed),
  };
}

/** Deletes every block; processes at work, also on the same errand, notice and go on. Returns the bytes freed. */
export async function clearStore(folder: string): Promise<number> {
  let freed = 0;
  for (const { file, bytes } of await segmentFiles(folder, NODE_FILES)) {
    try {
      await fs.unlink(file);
      freed += bytes;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return freed;
}

/** Reads every block and checks every checksum. Records that were deleted, or never whole, count as damaged. */
export async function verifyStore(folder: string): Promise<{ blocks: number; damaged: number }> {
  let blocks = 0;
  let damaged = 0;
  for (const { file, bytes } of await segmentFiles(folder, NODE_FILES)) {
    const header = await readHeader(file);
    if (header === null) continue;
    const stride = recordStride(header.payloadBytes);
    const handle = await fs.open(file, 'r');
    try {
      const record = Buffer.alloc(stride);
      for (let at = SEGMENT_HEADER_BYTES; at + stride <= bytes; at += stride) {
        await handle.read(record, 0, stride, at);
        const block = decodeBlockHeader(record.subarray(0, RECORD_HEADER_BYTES), header.payloadBytes);
        blocks++;
        if (block === null || checkedPayload(record, block, header.payloadBytes) === null) damaged++;
      }
    } finally {
      await handle.close();
    }
  }
  return { blocks, damaged };
}

async function readHeader(file: string) {
  try {
    const handle = await fs.open(file, 'r');
    try {
      const buffer = Buffer.alloc(SEGMENT_HEADER_BYTES);
      await handle.read(buffer, 0, buffer.length, 0);
      return decodeSegmentHeader(buffer);
    } finally {
      await handle.close();
    }
  } catch {
    return null;
  }
}

/** Only what this module names so is looked at, whatever else lies in the folder. */
async function segmentFiles(folder: string, files: StoreFiles): Promise<SegmentFile[]> {
  const found: SegmentFile[] = [];
  for (const model of await files.readdir(folder).catch(() => [])) {
    if (!/^[0-9a-f]{32}$/.test(model)) continue;
    for (const name of await files.readdir(path.join(folder, model)).catch(() => [])) {
      if (!/^(local|global)-\d+-[0-9a-f]{16}\.kv(\.new)?$/.test(name)) continue;
      const file = path.join(folder, model, name);
      try {
        const { size, mtimeMs } = await files.stat(file);
        found.push({ file, bytes: size, usedAt: mtimeMs });
      } catch {
        // Deleted by another process meanwhile.
      }
    }
  }
  return found;
}
