/** The thread that keeps the lexical index of one workspace, and keeps it on disk. */
import { parentPort, workerData } from 'node:worker_threads';
import { readIndexFile, writeIndexFile } from './index-file.ts';
import { LexicalIndex } from './lexical-index.ts';
import type { SearchReply, SearchRequest } from './search-thread.ts';

/** Looking at less text again takes no time worth a file. */
const WORTH_KEEPING = 256 * 1024;

const file = workerData as string | null;
const index = new LexicalIndex(file === null ? null : readIndexFile(file));

parentPort?.on('message', (request: SearchRequest) => {
  if ('query' in request) {
    const scores = index.search(request.query);
    parentPort?.postMessage({ scores } satisfies SearchReply, [scores.buffer]);
    // Nobody waits for this, and whatever is asked meanwhile is answered after it.
    if (file !== null && index.unsavedCharacters >= WORTH_KEEPING) writeIndexFile(file, index.whole());
  } else {
    index.update(request.removed, request.added);
    parentPort?.postMessage({ scores: null } satisfies SearchReply);
  }
});
