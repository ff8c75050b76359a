/**
 * How many megabytes of source code a second one core tokenises, and how long a vocabulary takes to load.
 *
 *   node bench/tokenizer.bench.ts [MODEL.gguf [FILE...]]
 *
 * Without a model: a vocabulary of Gemma's size made up for the purpose. Without files: this repository's TypeScript.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readGguf } from '../sidecar/engine/model/gguf.ts';
import { loadTokenizer } from '../sidecar/engine/tokenizer/from-gguf.ts';
import { trainMerges } from '../test/support/piece-training.ts';
import { MODEL_SHAPES, writeTinyModel } from '../test/support/tiny-model.ts';
import { gemmaLikePieces } from '../test/support/tokenizer-metadata.ts';

const ROUNDS = 5;
const SYNTHETIC_MERGES = 800;

const root = new URL('..', import.meta.url).pathname;
const [model, ...files] = process.argv.slice(2);
const sources = files.length > 0 ? files : repositorySources();
const text = sources.map((file) => readFileSync(file, 'utf8')).join('\n');
const bytes = Buffer.byteLength(text);

const folder = mkdtempSync(join(tmpdir(), 'tokenizer-bench-'));
try {
  measure(model ?? syntheticModel());
} finally {
  rmSync(folder, { recursive: true });
}

function repositorySources(): string[] {
  return ['sidecar', 'test', 'extension', 'webview', 'bench'].flatMap((part) =>
    readdirSync(join(root, part), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.includes('node_modules'))
      .map((path) => join(root, part, path)),
  );
}

function syntheticModel(): string {
  const path = join(folder, 'vocabulary.gguf');
  const shape = {
    ...MODEL_SHAPES.nano,
    layers: 1,
    hidden: 32,
    headDim: 32,
    feedForward: 32,
    vocabulary: 262_144,
  };
  const { pieces } = trainMerges(text.slice(0, 100_000), SYNTHETIC_MERGES);
  writeTinyModel(path, { shape, pieces: gemmaLikePieces(pieces) });
  return path;
}

/** Milliseconds of this thread on its core: other work on the machine does not count. */
function processorTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e3;
}

function measure(path: string): void {
  const started = processorTime();
  const gguf = readGguf(path);
  const read = processorTime();
  const rows = gguf.metadata.strings('tokenizer.ggml.tokens').length;
  const tokenizer = loadTokenizer(gguf, rows);
  const loaded = processorTime();
  const { format } = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
  console.log(
    `vocabulary   ${rows} pieces: header ${format(read - started)} ms, tokenizer ${format(loaded - read)} ms`,
  );
  console.log(`text         ${format(bytes / 1e6)} MB in ${sources.length} files`);
  for (let round = 1; round <= ROUNDS; round++) {
    const start = processorTime();
    const ids = tokenizer.encode(text);
    const encoded = processorTime();
    const back = tokenizer.decode(ids);
    const decoded = processorTime();
    // U+2581 in text is a space to this kind of vocabulary.
    const same = back === text.replaceAll('\u2581', ' ');
    const speed = (ms: number) => `${format(bytes / 1e3 / ms)} MB/s`;
    console.log(
      `round ${round}      encode ${speed(encoded - start)} (${ids.length} tokens), decode ${speed(decoded - encoded)}, ${same ? 'round trip exact' : 'ROUND TRIP DIFFERS'}`,
    );
  }
}
