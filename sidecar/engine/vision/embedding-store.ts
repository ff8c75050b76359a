/**
 * What the image tower made of images, on disk: the same image costs nothing after a restart. A file an image, named by the
 * embedding's key; what is read back is checked, and damaged is as absent. Failing to keep one loses time, nothing else.
 *
 *     "GSIMG001" | tokens u32 | width u32 | SHA-256 of the values [32] | values F32 [tokens][width], little-endian
 */
import { createHash, randomUUID } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import type { ImageEmbedding } from './prompt-image.ts';

const FOLDER = 'images';
const SUFFIX = '.soft';
const MAGIC = 'GSIMG001';
const HEADER_BYTES = 48;
/** A hundred images of Gemma 3 4B. */
const MOST_BYTES = 256 * 2 ** 20;
/** More than any image has. */
const LARGEST_FILE = 64 * 2 ** 20;
/** A file under a temporary name older than this belongs to a process that has died. */
const LEFTOVER_MS = 60_000;

export class EmbeddingStore {
  private readonly folder: string;
  private readonly mostBytes: number;
  private readonly mostAgeMs: number;

  /** `cacheFolder` is the one of the KV store. */
  constructor(cacheFolder: string, { mostBytes = MOST_BYTES, mostAgeMs = Number.POSITIVE_INFINITY } = {}) {
    this.folder = path.join(cacheFolder, FOLDER);
    this.mostBytes = mostBytes;
    this.mostAgeMs = mostAgeMs;
  }

  /** Null where it is not there, or not whole. */
  async get(key: string): Promise<ImageEmbedding | null> {
    const file = this.fileOf(key);
    try {
      if ((await fs.stat(file)).size > LARGEST_FILE) return null;
      const bytes = await fs.readFile(file);
      const embedding = decoded(key, bytes);
      const now = new Date();
      if (embedding === null) await fs.rm(file, { force: true });
      else await fs.utimes(file, now, now);
      return embedding;
    } catch {
      return null;
    }
  }

  async put(embedding: ImageEmbedding): Promise<void> {
    const file = this.fileOf(embedding.key);
    const temporary = `${file}.${randomUUID()}.tmp`;
    try {
      await fs.mkdir(this.folder, { recursive: true, mode: 0o700 });
      const handle = await fs.open(temporary, 'wx', 0o600);
      try {
        await handle.writeFile(encoded(embedding));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await fs.rename(temporary, file);
      await syncFolder(this.folder);
      await this.makeRoom();
    } catch {
      await fs.rm(temporary, { force: true }).catch(() => {});
    }
  }

  async report(): Promise<{ readonly images: number; readonly bytes: number }> {
    const files = (await this.files()).filter(({ file }) => file.endsWith(SUFFIX));
    return { images: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  /** Returns the bytes freed. */
  async clear(): Promise<number> {
    let freed = 0;
    for (const { file, bytes } of await this.files()) {
      await fs.rm(file, { force: true });
      freed += bytes;
    }
    return freed;
  }

  private async makeRoom(): Promise<void> {
    const files = (await this.files()).sort((a, b) => a.usedAt - b.usedAt);
    let total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    const now = Date.now();
    for (const { file, bytes, usedAt } of files) {
      const age = now - usedAt;
      const isLeftover = !file.endsWith(SUFFIX) && age > LEFTOVER_MS;
      if (total <= this.mostBytes && age <= this.mostAgeMs && !isLeftover) continue;
      await fs.rm(file, { force: true });
      total -= bytes;
    }
  }

  /** Only what this module names so is looked at, whatever else lies in the folder. */
  private async files() {
    const names = await fs.readdir(this.folder).catch(() => []);
    const own = names.filter((name) => /^[0-9a-f]{64}\.soft(\.[0-9a-f-]+\.tmp)?$/.test(name));
    const found = await Promise.all(
      own.map(async (name) => {
        const file = path.join(this.folder, name);
        const status = await fs.stat(file).catch(() => null);
        return status && { file, bytes: status.size, usedAt: status.mtimeMs };
      }),
    );
    return found.filter((file) => file !== null);
  }

  private fileOf(key: string): string {
    if (!/^[0-9a-f]{64}$/.test(key)) throw new RangeError('The key of an embedding is a SHA-256.');
    return path.join(this.folder, key + SUFFIX);
  }
}

function encoded({ tokens, values }: ImageEmbedding): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES + 4 * values.length);
  bytes.write(MAGIC, 'latin1');
  bytes.writeUInt32LE(tokens, 8);
  bytes.writeUInt32LE(values.length / tokens, 12);
  for (const [i, value] of values.entries()) bytes.writeFloatLE(value, HEADER_BYTES + 4 * i);
  digest(bytes.subarray(HEADER_BYTES)).copy(bytes, 16);
  return bytes;
}

function decoded(key: string, bytes: Buffer): ImageEmbedding | null {
  if (bytes.length < HEADER_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) return null;
  const tokens = bytes.readUInt32LE(8);
  const body = bytes.subarray(HEADER_BYTES);
  if (tokens === 0 || body.length !== 4 * tokens * bytes.readUInt32LE(12)) return null;
  if (!digest(body).equals(bytes.subarray(16, HEADER_BYTES))) return null;
  return {
    key,
    tokens,
    values: Float32Array.from({ length: body.length / 4 }, (_, i) => body.readFloatLE(4 * i)),
  };
}

function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return; // Folders cannot be synced there.
  const handle = await fs.open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}
