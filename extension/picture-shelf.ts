/**
 * Pixels and thumbnails of a conversation's pictures on disk, so that they are there again after the window was
 * reloaded. A file is written under another name, synced and renamed; one that is damaged counts as absent. The shelf
 * has a size: when it is full, the pictures that were written longest ago go first.
 */

import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflate, inflate } from 'node:zlib';

export interface ShelvedPicture {
  readonly width: number;
  readonly height: number;
  /** RGBA, straight alpha. */
  readonly rgba: Uint8Array<ArrayBuffer>;
  /** PNG. */
  readonly thumbnail: Uint8Array<ArrayBuffer>;
}

export const DEFAULT_SHELF_BYTES = 512 * 2 ** 20;

const SUFFIX = '.picture';
const MAGIC = 'GSPIC001';
/** Magic, width, height, length of the thumbnail, SHA-256 of all that follows the header. */
const HEADER_BYTES = 8 + 4 + 4 + 4 + 32;
const MAX_PIXELS = 2 ** 26;

export class PictureShelf {
  readonly #folder: string;
  readonly #limitBytes: number;

  constructor(folder: string, limitBytes = DEFAULT_SHELF_BYTES) {
    this.#folder = folder;
    this.#limitBytes = limitBytes;
  }

  /** @throws the file system's error when there is no room */
  async put(key: string, picture: ShelvedPicture): Promise<void> {
    // Fast rather than small: screenshots shrink twentyfold even so.
    const pixels = await promisify(deflate)(picture.rgba, { level: 1 });
    const body = Buffer.concat([picture.thumbnail, pixels]);
    const header = Buffer.alloc(HEADER_BYTES);
    header.write(MAGIC, 0, 'latin1');
    header.writeUInt32LE(picture.width, 8);
    header.writeUInt32LE(picture.height, 12);
    header.writeUInt32LE(picture.thumbnail.length, 16);
    createHash('sha256').update(body).digest().copy(header, 20);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await this.#commit(this.#path(key), Buffer.concat([header, body]));
    await this.#makeRoom();
  }

  /** Null when it is not there, or damaged. */
  async get(key: string): Promise<ShelvedPicture | null> {
    try {
      const file = await readFile(this.#path(key));
      if (file.length < HEADER_BYTES || file.toString('latin1', 0, 8) !== MAGIC) return null;
      const [width, height, thumbnailBytes] = [
        file.readUInt32LE(8),
        file.readUInt32LE(12),
        file.readUInt32LE(16),
      ];
      const body = file.subarray(HEADER_BYTES);
      if (width * height > MAX_PIXELS || thumbnailBytes > body.length) return null;
      if (!createHash('sha256').update(body).digest().equals(file.subarray(20, HEADER_BYTES))) return null;
      const size = width * height * 4;
      const pixels = await promisify(inflate)(body.subarray(thumbnailBytes), { maxOutputLength: size });
      if (pixels.length !== size) return null;
      return {
        width,
        height,
        rgba: new Uint8Array(pixels),
        thumbnail: new Uint8Array(body.subarray(0, thumbnailBytes)),
      };
    } catch {
      return null;
    }
  }

  /** Removes all pictures but these. */
  async keepOnly(keys: ReadonlySet<string>): Promise<void> {
    for (const name of await this.#names())
      if (!keys.has(name.slice(0, -SUFFIX.length))) await rm(join(this.#folder, name), { force: true });
  }

  #path(key: string): string {
    if (!/^[\w-]{1,64}$/.test(key)) throw new Error('A picture has a key that is no file name.');
    return join(this.#folder, key + SUFFIX);
  }

  async #commit(path: string, bytes: Buffer): Promise<void> {
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    if (process.platform === 'win32') return; // folders cannot be synced there
    const folder = await open(this.#folder, 'r');
    await folder.sync().finally(() => folder.close());
  }

  async #makeRoom(): Promise<void> {
    const files = await Promise.all(
      (await this.#names()).map(async (name) => {
        const path = join(this.#folder, name);
        const { size, mtimeMs } = await stat(path).catch(() => ({ size: 0, mtimeMs: 0 }));
        return { path, size, mtimeMs };
      }),
    );
    let total = files.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of files.sort((a, b) => a.mtimeMs - b.mtimeMs)) {
      if (total <= this.#limitBytes) return;
      await rm(path, { force: true });
      total -= size;
    }
  }

  async #names(): Promise<string[]> {
    const names = await readdir(this.#folder).catch(() => []);
    return names.filter((name) => name.endsWith(SUFFIX));
  }
}
