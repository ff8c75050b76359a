/**
 * The lexical index of a workspace on disk, so that a restart does not look at every text again: one segment, with a checksum.
 * What is read back is checked like any foreign file; damaged, or of another version of the words, it is as absent.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import type { Root } from '../repository.ts';
import { KEY_BYTES, type Segment, SegmentBuilder } from './segment.ts';

/** The format, and what becomes of a sample: another one when words, stems, definitions or weights are, so that no old file is taken. */
const MAGIC = Buffer.from(`GSWORDS1${digestOfSample()}`);
const DIGEST_BYTES = 32;
/** Magic, digest, then the numbers of documents, words and bytes of postings. */
const HEADER_BYTES = MAGIC.length + DIGEST_BYTES + 12;
const MAX_BYTES = 1024 * 1024 * 1024;
/** Workspaces remembered; those used longest ago go first. */
const MOST_FILES = 32;

const FOLDER = 'search';

/** Where the index of a workspace is kept; `cacheFolder` is the one of the KV store. */
export function indexFileOf(cacheFolder: string, roots: readonly Root[]): string {
  const name = createHash('sha256').update(JSON.stringify(roots)).digest('hex');
  return path.join(cacheFolder, FOLDER, `${name}.words`);
}

/** What another window keeps meanwhile may stay. */
export function clearIndexFiles(cacheFolder: string): void {
  const folder = path.join(cacheFolder, FOLDER);
  try {
    for (const name of readdirSync(folder)) rmSync(path.join(folder, name), { force: true });
    rmdirSync(folder);
  } catch {
    // There is none.
  }
}

/** Null where there is none that can be used. */
export function readIndexFile(file: string): Segment | null {
  try {
    if (statSync(file).size > MAX_BYTES) return null;
    return parsed(readFileSync(file));
  } catch {
    return null;
  }
}

/** Failing to keep it loses time after a restart, nothing else. */
export function writeIndexFile(file: string, segment: Segment): void {
  const temporary = `${file}.${randomUUID()}.tmp`;
  const folder = path.dirname(file);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const handle = openSync(temporary, 'wx', 0o600);
    try {
      for (const part of partsOf(segment)) writeWhole(handle, part);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, file);
    const directory = openSync(folder, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
    forgetOldest(folder);
  } catch {
    rmSync(temporary, { force: true });
  }
}

function digestOfSample(): string {
  const builder = new SegmentBuilder();
  const text =
    'export function parseHTTPHeaders(max_line_bytes, queries) { class Größe {} } // Quantised, cancelled, decoding classes\n';
  builder.add(new Uint8Array(KEY_BYTES), 'src/retry-queue/Decoder.test.ts', text);
  const { words, ends, postings } = builder.finish();
  const hash = createHash('sha256').update(bytesOf(words)).update(bytesOf(ends)).update(postings);
  return hash.digest('hex').slice(0, 16);
}

function writeWhole(handle: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at);
}

function partsOf({ documents, keys, lengths, words, ends, postings }: Segment): Uint8Array[] {
  const counts = bytesOf(Uint32Array.of(documents, ends.length, postings.length));
  const body = [counts, keys, bytesOf(lengths), bytesOf(words), bytesOf(ends), postings];
  const digest = createHash('sha256');
  for (const part of body) digest.update(part);
  return [MAGIC, digest.digest(), ...body];
}

function parsed(bytes: Buffer): Segment | null {
  if (bytes.length < HEADER_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return null;
  const bodyAt = MAGIC.length + DIGEST_BYTES;
  const digest = createHash('sha256').update(bytes.subarray(bodyAt)).digest();
  if (!digest.equals(bytes.subarray(MAGIC.length, bodyAt))) return null;
  const [documents, words, postings] = [0, 4, 8].map((at) => bytes.readUInt32LE(bodyAt + at)) as [
    number,
    number,
    number,
  ];
  let at = HEADER_BYTES;
  // Copies are aligned, as numbers of four bytes must be.
  const take = (length: number) => {
    const part = new Uint8Array(bytes.subarray(at, at + length));
    at += length;
    return part;
  };
  if (bytes.length !== HEADER_BYTES + documents * (KEY_BYTES + 4) + words * 12 + postings) return null;
  const segment = {
    documents,
    keys: take(documents * KEY_BYTES),
    lengths: numbersOf(take(documents * 4)),
    words: numbersOf(take(words * 8)),
    ends: numbersOf(take(words * 4)),
    postings: take(postings),
  };
  const { ends } = segment;
  for (let i = 0; i < words; i++) if (ends[i]! > postings || (i > 0 && ends[i]! < ends[i - 1]!)) return null;
  return segment;
}

/** Little-endian, like every machine that this runs on. */
function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function numbersOf({ buffer, byteOffset, byteLength }: Uint8Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

function forgetOldest(folder: string): void {
  const files = readdirSync(folder).map((name) => {
    const file = path.join(folder, name);
    try {
      return { file, time: statSync(file).mtimeMs };
    } catch {
      return { file, time: 0 }; // Another window has deleted it.
    }
  });
  files.sort((a, b) => b.time - a.time);
  for (const { file } of files.slice(MOST_FILES)) rmSync(file, { force: true });
}
