/** The thread that looks at and reads the files of a large workspace. */
import { closeSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { textOrReason } from './belongs.ts';
import {
  type DiskReply,
  type DiskRequest,
  type Looked,
  LookedMany,
  lookedOf,
  READ_FLAGS,
  type ReadResult,
} from './disk.ts';

let paths: readonly string[] = [];
parentPort?.on('message', (request: DiskRequest) => {
  const { id } = request;
  if ('look' in request) {
    if (request.look !== 'again') paths = request.look;
    const { numbers } = LookedMany.of(paths.map(look));
    parentPort?.postMessage({ id, result: numbers } satisfies DiskReply, [numbers.buffer]);
  } else parentPort?.postMessage({ id, result: request.read.map(read) } satisfies DiskReply);
});

function look(path: string): Looked | null {
  try {
    return lookedOf(lstatSync(path));
  } catch {
    return null;
  }
}

function read({ path, pinned }: { readonly path: string; readonly pinned: boolean }): ReadResult {
  try {
    const file = openSync(path, READ_FLAGS);
    try {
      return textOrReason(readFileSync(file), pinned);
    } finally {
      closeSync(file);
    }
  } catch {
    return { reason: 'unreadable' };
  }
}
