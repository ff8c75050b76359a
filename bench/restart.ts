/**
 * How much sooner does the first token come after a restart? `node bench/restart.ts [tokens] [shape]`, shape 270m, 1b or 4b.
 *
 * Reads a made-up prompt of `tokens` tokens once, closes the engine, opens another one and asks again. The second engine's
 * bytes come from the page cache of the system where memory allows; a cold disk adds its own time for the printed size.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { reportStore } from '../sidecar/engine/kv/store/limits.ts';
import { loadGemmaEngine } from '../sidecar/engine/load-engine.ts';
import { seededRandom } from '../test/support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../test/support/tiny-model.ts';

const [tokens = '2048', shapeName = '1b'] = process.argv.slice(2);
const shape = Object.entries(MODEL_SHAPES).find(([name]) => name === shapeName)?.[1];
if (!shape) throw new Error(`There is no shape "${shapeName}".`);
const folder = mkdtempSync(path.join(tmpdir(), 'restart-'));
try {
  const modelPath = path.join(folder, 'model.gguf');
  writeTinyModel(modelPath, { shape });
  const random = seededRandom(1);
  const prompt = Array.from({ length: Number(tokens) }, () => Math.floor(random() * 4000));
  const store = { folder: path.join(folder, 'kv'), mostBytes: 100e9, mostAgeMs: 1e12 };
  const times: number[] = [];
  for (const run of ['reading', 'restored']) {
    const engine = await loadGemmaEngine({ modelPath, store, contextLength: Number(tokens) + 512 });
    const started = performance.now();
    for await (const event of engine.generate(prompt, { maxTokens: 1, sampling: { temperature: 0 } })) {
      if (event.kind === 'token') times.push(performance.now() - started);
      if (event.kind === 'end') {
        process.stdout.write(
          `${run}: first token after ${times.at(-1)!.toFixed(0)} ms, ${event.diskTokens} tokens from disk\n`,
        );
      }
    }
    await engine.dispose();
  }
  const { bytes } = await reportStore(store.folder);
  process.stdout.write(
    `${(times[0]! / times[1]!).toFixed(1)} times sooner; ${(bytes / 1e6).toFixed(0)} MB on disk\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
