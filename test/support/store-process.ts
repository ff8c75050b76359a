/**
 * A process at work on a KV store until it is killed, or for `rounds` rounds of 26 operations: refresh, read and write 12 blocks,
 * flush. store-process.ts FOLDER SALT ROUNDS MOST_BYTES [CLEARS]: the first round is of prompt SALT, the others of any of twelve;
 * CLEARS is the share of rounds after which it clears the store.
 */
import { clearStore } from '../../sidecar/engine/kv/store/limits.ts';
import { seededRandom } from './random.ts';
import { blocksOf, openStore, readAll, writeAll } from './store-blocks.ts';

const [folder = '', salt = '0', rounds = '0', mostBytes = '1e9', clears = '0'] = process.argv.slice(2);
const random = seededRandom(Number(salt));
const store = openStore({ folder, mostBytes: Number(mostBytes) });
const done = { operations: 0, given: 0, cleared: 0, longestMs: 0 };
process.stdout.write('working\n');
for (let round = 0; round < Number(rounds); round++) {
  const prompt = round === 0 ? Number(salt) % 12 : Math.floor(random() * 12);
  const blocks = blocksOf(store, prompt, 6);
  await timed(() => store.refresh());
  for (const block of blocks) done.given += await timed(() => readAll(store, [block]), 2);
  await timed(() => {
    writeAll(store, blocks);
    return store.flush();
  }, 13);
  if (random() >= Number(clears)) continue;
  await timed(() => clearStore(folder));
  done.cleared++;
}
await store.close();
process.stdout.write(`${JSON.stringify(done)}\n`);

/** Counts as `operations`; remembers the longest wait. */
async function timed<T>(operation: () => Promise<T>, operations = 1): Promise<T> {
  const started = performance.now();
  const result = await operation();
  done.longestMs = Math.max(done.longestMs, performance.now() - started);
  done.operations += operations;
  return result;
}
