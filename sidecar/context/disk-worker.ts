/** The thread that looks at and reads the files of a large workspace. */
import { closeSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { textOrReason } from './belongs.ts';
import {
  type DiskReply,
  type DiskRequest,
  type Looked,
  lookedOf,
  READ_FLAGS,
  type ReadResult,
} from './disk.ts';

parentPort?.on('message', (request: DiskRequest) => {
  const result = 'look' in request ? request.look.map(look) : request.read.map(read);
  parentPort?.postMessage({ id: request.id, result } satisfies DiskReply);
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
