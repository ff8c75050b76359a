/** A process at work on a KV store until it is killed, or for `milliseconds`: store-process.ts FOLDER SALT MILLISECONDS MOST_BYTES. */
import { blocksOf, openStore, readAll, writeAll } from './store-blocks.ts';

const [folder = '', salt = '0', milliseconds = '0', mostBytes = '1e9'] = process.argv.slice(2);
const store = openStore({ folder, mostBytes: Number(mostBytes) });
const end = Date.now() + Number(milliseconds);
let longest = 0;
let given = 0;
let rounds = 0;
process.stdout.write('working\n');
do {
  const started = performance.now();
  const prompt = (Number(salt) + rounds) % 12;
  await store.refresh();
  given += await readAll(store, blocksOf(store, prompt, 6));
  writeAll(store, blocksOf(store, prompt, 6));
  await store.flush();
  longest = Math.max(longest, performance.now() - started);
  rounds++;
} while (Date.now() < end);
await store.close();
process.stdout.write(`${JSON.stringify({ rounds, given, longest })}\n`);
