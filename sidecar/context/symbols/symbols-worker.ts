/** The thread that parses: one text in, its symbols out, in order. */
import { parentPort } from 'node:worker_threads';
import { NO_SYMBOLS } from './extract.ts';
import { parseSymbols } from './parse.ts';
import type { ParseReply, ParseRequest } from './symbol-parser.ts';

let queue = Promise.resolve();
parentPort?.on('message', ({ id, path, text }: ParseRequest) => {
  queue = queue.then(async () => {
    // A grammar that fails on a text loses that text's symbols, nothing more.
    const symbols = await parseSymbols(path, text).catch(() => NO_SYMBOLS);
    parentPort?.postMessage({ id, symbols } satisfies ParseReply);
  });
});
