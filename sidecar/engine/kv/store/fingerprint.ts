/** What a block depends on beside its tokens: the model's bytes, its configuration, how pages are written, the build that computes. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { KV_PAGE_VERSION } from '../../backend/backend.ts';
import { FORMAT_VERSION } from './segment.ts';

export interface FingerprintParts {
  readonly modelDigest: string;
  /** Shapes, RoPE, window, scale. */
  readonly config: object;
  /** Build, instruction set and precision of the backend, and version of the forward pass. */
  readonly numerics: string;
}

export function fingerprint({ modelDigest, config, numerics }: FingerprintParts): Uint8Array {
  const parts = JSON.stringify([FORMAT_VERSION, KV_PAGE_VERSION, modelDigest, config, numerics]);
  return createHash('sha256').update(parts).digest();
}

/** A file changed so shortly before it was read could change again unseen by its times. */
const SETTLED_MS = 2_000;
const MOST_REMEMBERED = 64;

/**
 * SHA-256 of a model file. Reading gigabytes takes seconds, so results are remembered in `folder`, where there is one, under
 * the file's identity (device, inode, size, both times to the nanosecond). Rejects with the signal's reason.
 */
export async function modelDigest(
  file: string,
  folder: string | null,
  signal?: AbortSignal,
): Promise<string> {
  if (folder === null) return wholeDigest(file, signal);
  const memory = path.join(folder, 'model-digests.json');
  const { dev, ino, size, mtimeNs, ctimeNs } = await fs.stat(file, { bigint: true });
  const identity = [dev, ino, size, mtimeNs, ctimeNs].join('-');
  const known = await readRemembered(memory);
  const found = known[identity];
  if (found !== undefined) return found;
  const started = Date.now();
  const digest = await wholeDigest(file, signal);
  if (started - Number(ctimeNs / 1_000_000n) > SETTLED_MS) {
    const entries = [...Object.entries(known), [identity, digest]].slice(-MOST_REMEMBERED);
    await remember(memory, JSON.stringify(Object.fromEntries(entries))).catch(() => {});
  }
  return digest;
}

async function wholeDigest(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    signal?.throwIfAborted();
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}

async function readRemembered(file: string): Promise<Readonly<Record<string, string>>> {
  try {
    const value: unknown = JSON.parse(await fs.readFile(file, 'utf8'));
    if (typeof value !== 'object' || value === null) return {};
    return Object.fromEntries(
      Object.entries(value).filter(([, digest]) => /^[0-9a-f]{64}$/.test(String(digest))),
    );
  } catch {
    return {};
  }
}

async function remember(file: string, text: string): Promise<void> {
  await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  const handle = await fs.open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await fs.rename(temporary, file);
}
