/**
 * Token ids equal llama.cpp's (through node-llama-cpp, CPU) on generated strings, over vocabularies that the test
 * trains and writes itself, and over the built-in model where it has been built.
 *
 * TOKENIZER_PARITY_STRINGS sets how many strings (for a nightly run).
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { readGguf } from '../../sidecar/engine/model/gguf.ts';
import { type GgufValue, PackedStrings } from '../../sidecar/engine/model/gguf-metadata.ts';
import { loadTokenizer } from '../../sidecar/engine/tokenizer/from-gguf.ts';
import { trainMerges } from '../support/piece-training.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';
import { CorpusGenerator } from '../support/tokenizer-corpus.ts';
import { gemmaLikePieces } from '../support/tokenizer-metadata.ts';

const STRINGS = Number(process.env['TOKENIZER_PARITY_STRINGS'] ?? 5000);
const BUILT_IN = new URL('../../models/gemma-sidecar-builtin.gguf', import.meta.url);

const folder = mkdtempSync(join(tmpdir(), 'tokenizer-parity-'));
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  maxThreads: 1,
  logLevel: LlamaLogLevel.error,
});
after(async () => {
  await llama.dispose();
  rmSync(folder, { recursive: true });
});

const training = new CorpusGenerator(100);
const trained = trainMerges(Array.from({ length: 400 }, () => training.code()).join('\n'), 1500);
const SHAPE = { ...MODEL_SHAPES.nano, layers: 1, hidden: 32, headDim: 32, feedForward: 32, vocabulary: 2600 };

function written(name: string, metadata: Record<string, GgufValue>): string {
  const path = join(folder, name);
  writeTinyModel(path, { shape: SHAPE, pieces: gemmaLikePieces(trained.pieces), metadata });
  return path;
}

async function assertSameIds(path: string, seed: number): Promise<void> {
  const gguf = readGguf(path);
  const ours = loadTokenizer(gguf, gguf.tensors.get('token_embd.weight')?.shape[1] ?? 0);
  const theirs = await llama.loadModel({ modelPath: path, vocabOnly: true, gpuLayers: 0 });
  const corpus = new CorpusGenerator(seed);
  let ids = 0;
  for (let n = 0; n < STRINGS; n++) {
    const text = corpus.next();
    const control = n % 2 === 0 ? 'text' : 'token';
    const expected = [...theirs.tokenize(text, control === 'token')];
    const actual = [...ours.encode(text, { control })];
    assert.deepEqual(actual, expected, JSON.stringify({ control, text }));
    if (!text.includes('\u2581')) assert.equal(ours.decode(actual), text);
    ids += actual.length;
  }
  assert.ok(ids > STRINGS);
  await theirs.dispose();
}

test(`SentencePiece scores: ${STRINGS} strings as llama.cpp`, async () => {
  await assertSameIds(written('scores.gguf', {}), 1);
});

test(`byte-pair merges: ${STRINGS} strings as llama.cpp`, async () => {
  // llama.cpp reads Gemma-style byte pairs under the name of Gemma 4; under "gpt2" it would expect GPT-2's alphabet.
  const path = written('merges.gguf', {
    'tokenizer.ggml.model': { kind: 'string', value: 'gemma4' },
    'tokenizer.ggml.merges': { kind: 'strings', value: PackedStrings.from(trained.merges) },
  });
  await assertSameIds(path, 2);
});

test(`the built-in model: ${STRINGS} strings as llama.cpp`, {
  skip: existsSync(BUILT_IN) ? false : 'models/gemma-sidecar-builtin.gguf has not been built',
}, async () => {
  await assertSameIds(BUILT_IN.pathname, 3);
});
