/** A process at work on a KV store until it is killed, or for `milliseconds`: store-process.ts FOLDER SALT MILLISECONDS MOST_BYTES. */
import { blocksOf, openStore, readAll, writeAll } from './store-blocks.ts';

const [folder = '', salt = '0', milliseconds = '0', mostBytes = '1e9'] = process.argv.slice(2);
const store = openStore({ folder, mostBytes: Number(mostBytes) });
const end = Date.now() + Number(milliseconds);
let given = 0;
let rounds = 0;
process.stdout.write('working\n');
do {
  const blocks = blocksOf(store, (Number(salt) + rounds) % 12, 6);
  await store.refresh();
  for (const block of blocks) given += await readAll(store, [block]);
  writeAll(store, blocks);
  await store.flush();
  rounds++;
} while (Date.now() < end);
await store.close();
process.stdout.write(`${JSON.stringify({ rounds, given })}\n`);
