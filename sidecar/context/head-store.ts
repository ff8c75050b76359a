/**
 * The head of a workspace's prompt, kept on disk beside its KV: after a restart the prompt begins with the same bytes, whatever
 * was edited since, so that the KV on disk is found. What is read back is checked like any foreign file; damaged is as absent.
 */
import { createHash, randomUUID } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import type { Choice } from './choice.ts';
import type { Root } from './repository.ts';

export interface StoredHead {
  readonly whole: boolean;
  readonly spent: number;
  readonly choice: Choice;
  readonly files: readonly {
    readonly path: string;
    readonly text: string;
    readonly lines?: { readonly first: number; readonly last: number };
    readonly outline?: boolean;
  }[];
  /** The files that `files` are parts of, as they were then; those that stand whole in `files` are not repeated. */
  readonly base: readonly { readonly path: string; readonly text: string }[];
}

const FOLDER = 'heads';
const FORMAT = 1;
/** Larger than any context of ours holds. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Workspaces remembered; those used longest ago go first. */
const MOST_HEADS = 32;

export class HeadStore {
  private readonly folder: string;

  /** `cacheFolder` is the one of the KV store. */
  constructor(cacheFolder: string) {
    this.folder = path.join(cacheFolder, FOLDER);
  }

  async load(roots: readonly Root[], vocabulary: number): Promise<StoredHead | null> {
    try {
      const file = this.fileOf(roots, vocabulary);
      if ((await fs.stat(file)).size > MAX_BYTES) return null;
      const text = await fs.readFile(file, 'utf8');
      const end = text.indexOf('\n');
      const body = text.slice(end + 1);
      if (text.slice(0, end) !== `${FORMAT} ${digest(body)}`) return null;
      const head: unknown = JSON.parse(body);
      return isStoredHead(head) ? head : null;
    } catch {
      return null;
    }
  }

  /** Failing to keep it loses time after a restart, nothing else. */
  async save(roots: readonly Root[], vocabulary: number, head: StoredHead): Promise<void> {
    const body = JSON.stringify(head);
    const file = this.fileOf(roots, vocabulary);
    const temporary = `${file}.${randomUUID()}.tmp`;
    try {
      await fs.mkdir(this.folder, { recursive: true, mode: 0o700 });
      const handle = await fs.open(temporary, 'wx', 0o600);
      try {
        await handle.writeFile(`${FORMAT} ${digest(body)}\n${body}`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await fs.rename(temporary, file);
      const folder = await fs.open(this.folder, 'r');
      await folder.sync().finally(() => folder.close());
      await this.forgetOldest();
    } catch {
      await fs.rm(temporary, { force: true }).catch(() => {});
    }
  }

  /** What another window keeps meanwhile may stay. */
  async clear(): Promise<void> {
    const names = await fs.readdir(this.folder).catch(() => []);
    await Promise.all(names.map((name) => fs.rm(path.join(this.folder, name), { force: true })));
    await fs.rmdir(this.folder).catch(() => {});
  }

  private fileOf(roots: readonly Root[], vocabulary: number): string {
    return path.join(this.folder, `${digest(JSON.stringify([roots, vocabulary]))}.head`);
  }

  private async forgetOldest(): Promise<void> {
    const names = await fs.readdir(this.folder);
    const files = await Promise.all(
      names.map(async (name) => {
        const file = path.join(this.folder, name);
        // Another window may have deleted it.
        const time = await fs.stat(file).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        );
        return { file, time };
      }),
    );
    files.sort((a, b) => b.time - a.time);
    await Promise.all(files.slice(MOST_HEADS).map(({ file }) => fs.rm(file, { force: true })));
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function isStoredHead(value: unknown): value is StoredHead {
  if (!isRecord(value)) return false;
  const { whole, spent, choice, files, base } = value;
  const strings = (list: unknown) => Array.isArray(list) && list.every((item) => typeof item === 'string');
  const texts = (list: unknown) =>
    Array.isArray(list) &&
    list.every((f) => isRecord(f) && typeof f['path'] === 'string' && typeof f['text'] === 'string');
  return (
    typeof whole === 'boolean' &&
    typeof spent === 'number' &&
    isRecord(choice) &&
    strings(choice['pinned']) &&
    strings(choice['dropped']) &&
    texts(files) &&
    texts(base) &&
    (files as readonly Record<string, unknown>[]).every(
      ({ lines, outline }) =>
        (lines === undefined || isRange(lines)) && (outline === undefined || typeof outline === 'boolean'),
    )
  );
}

function isRange(value: unknown): boolean {
  return isRecord(value) && Number.isSafeInteger(value['first']) && Number.isSafeInteger(value['last']);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
