/**
 * Checkpoints in Hugging Face's layout become GGUF files with exactly the weights, configuration and tokens that the same
 * model has when it is written as GGUF directly; damaged ones are refused with a sentence that names the file.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { readGemma3Config } from '../../sidecar/engine/model/config.ts';
import { readGguf } from '../../sidecar/engine/model/gguf.ts';
import { readSafetensors } from '../../sidecar/engine/model/huggingface/safetensors.ts';
import { loadTokenizer } from '../../sidecar/engine/tokenizer/from-gguf.ts';
import { compareDistributions, logSoftmax } from '../support/distributions.ts';
import {
  type RawTensor,
  textConfig,
  writeCheckpoint,
  writeSafetensors,
} from '../support/huggingface-checkpoint.ts';
import { loadLlama } from '../support/llama.ts';
import { MODEL_SHAPES, seededPieces, writeTinyModel } from '../support/tiny-model.ts';

const MAIN = path.resolve(import.meta.dirname, '../../sidecar/main.ts');
const SHAPE = { ...MODEL_SHAPES.nano, hidden: 64, headDim: 32, feedForward: 96, ropeFactor: 8 };
const PIECES = seededPieces(SHAPE.vocabulary, 1);
const IDS = [2, 300, 301, 7, 512, 1999];

const folder = mkdtempSync(path.join(tmpdir(), 'huggingface-'));
const inFolder = (...names: string[]) => path.join(folder, ...names);
after(() => rmSync(folder, { recursive: true }));

const direct = inFolder('direct.gguf');
before(() => writeTinyModel(direct, { shape: SHAPE, body: 'F16', embedding: 'F16', pieces: PIECES }));

describe('a checkpoint becomes the file that its weights make directly', () => {
  test('a text model in one file: the same tensors, tokens and logits', async () => {
    writeCheckpoint(inFolder('text'), direct, {
      prefix: 'model.',
      config: textConfig(SHAPE),
      pieces: PIECES,
    });
    const out = inFolder('text.gguf');
    converted(inFolder('text'), out, 'f16');
    assertSameModel(out, direct);
    assert.deepEqual(await logitsOf(out), await logitsOf(direct));
  });

  test('a multimodal model in shards: text_config, its prefix, its padding rows and its image tower', async () => {
    const { model_type: _, ...text } = textConfig(SHAPE);
    const padded = inFolder('padded.gguf');
    const vocabulary = SHAPE.vocabulary + 64;
    writeTinyModel(padded, {
      shape: { ...SHAPE, vocabulary },
      body: 'BF16',
      embedding: 'BF16',
      pieces: seededPieces(vocabulary, 1),
    });
    const image: RawTensor = { dtype: 'F32', shape: [1], bytes: new Uint8Array(4) };
    for (const [name, prefix, vision] of [
      ['multimodal', 'language_model.model.', 'vision_tower.vision_model.post_layernorm.weight'],
      ['multimodal-new', 'model.language_model.', 'model.multi_modal_projector.mm_soft_emb_norm.weight'],
    ] as const) {
      writeCheckpoint(inFolder(name), padded, {
        prefix,
        config: {
          architectures: ['Gemma3ForConditionalGeneration'],
          model_type: 'gemma3',
          text_config: { ...text, model_type: 'gemma3_text' },
        },
        pieces: PIECES,
        shards: 3,
        more: new Map([[vision, image]]),
      });
      const out = inFolder(`${name}.gguf`);
      const { stderr } = converted(inFolder(name), out, 'f16');
      assert.match(stderr, /1 tensors of the image tower/);
      assert.match(stderr, /64 rows of the embedding/);
      const reference = inFolder('reference.gguf');
      converted(padded, reference, 'f16');
      const rows = SHAPE.vocabulary;
      const cut = (bytes: Buffer) => bytes.subarray(0, rows * SHAPE.hidden * 2);
      assert.equal(readGguf(out).tensors.get('token_embd.weight')?.shape[1], rows);
      assert.ok(
        cut(tensorBytes(out, 'token_embd.weight')).equals(cut(tensorBytes(reference, 'token_embd.weight'))),
      );
      for (const tensor of ['blk.3.attn_k.weight', 'blk.5.ffn_norm.weight', 'output_norm.weight']) {
        assert.ok(tensorBytes(out, tensor).equals(tensorBytes(reference, tensor)), tensor);
      }
    }
  });

  test('quantised layers are those of the GGUF file quantised', () => {
    const [a, b] = [inFolder('q4-a.gguf'), inFolder('q4-b.gguf')];
    converted(inFolder('text', 'model.safetensors'), a, 'q4_0');
    converted(direct, b, 'q4_0');
    assertSameModel(a, b);
  });

  test('llama.cpp reads it alike', async () => {
    const out = inFolder('text.gguf');
    const llama = await loadLlama(out, { contextSize: 256, threads: 1 });
    try {
      const { divergence } = compareDistributions(
        await llama.logProbabilities(IDS),
        logSoftmax(await logitsOf(out)),
      );
      assert.ok(divergence < 1e-3, `divergence ${divergence}`);
    } finally {
      await llama.dispose();
    }
  });
});

describe('configurations', () => {
  const metadataOf = (name: string, config: Record<string, unknown>) => {
    writeCheckpoint(inFolder(name), direct, { prefix: 'model.', config, pieces: PIECES });
    const out = inFolder(`${name}.gguf`);
    converted(inFolder(name), out, 'f16');
    return readGemma3Config(readGguf(out)).config;
  };

  test('RoPE parameters in the form of transformers 5', () => {
    const { rope_theta: _, rope_local_base_freq: __, rope_scaling: ___, ...rest } = textConfig(SHAPE);
    const config = metadataOf('rope', {
      ...rest,
      rope_parameters: {
        full_attention: { rope_type: 'linear', factor: 4, rope_theta: 500_000 },
        sliding_attention: { rope_type: 'default', rope_theta: 20_000 },
      },
    });
    assert.deepEqual(config.rope, {
      local: { base: 20_000, factor: 1 },
      global: { base: 500_000, factor: 4 },
    });
  });

  test('layers of another pattern', () => {
    const types = ['full_attention', ...Array(5).fill('sliding_attention')];
    const config = metadataOf('pattern', { ...textConfig(SHAPE), layer_types: types });
    assert.deepEqual(config.layers, ['global', 'local', 'local', 'local', 'local', 'local']);
  });

  for (const [what, change, reason] of [
    ['another model', { model_type: 'llama' }, /config\.json .*type "llama"; only Gemma 3/],
    ['another attention scale', { query_pre_attn_scalar: 17 }, /query_pre_attn_scalar 17/],
    ['another RoPE scaling', { rope_scaling: { rope_type: 'yarn', factor: 2 } }, /"yarn"/],
    ['no width', { hidden_size: undefined }, /hidden_size/],
    ['a width that the tensors have not', { hidden_size: 96 }, /shape/],
  ] as const) {
    test(`${what} is refused`, () => {
      const name = `refused-${what.replaceAll(' ', '-')}`;
      writeCheckpoint(inFolder(name), direct, {
        prefix: 'model.',
        config: { ...textConfig(SHAPE), ...change },
        pieces: PIECES,
      });
      assert.match(refused(inFolder(name)), reason);
    });
  }
});

describe('damaged checkpoints', () => {
  const two = new Map<string, RawTensor>([
    ['a', { dtype: 'F32', shape: [2, 2], bytes: new Uint8Array(16) }],
    ['b', { dtype: 'BF16', shape: [3], bytes: new Uint8Array(6) }],
  ]);
  const file = inFolder('damaged.safetensors');

  test('an undamaged file is read', () => {
    writeSafetensors(file, two);
    const { offset, ...b } = readSafetensors(file).get('b')!;
    assert.deepEqual(b, { name: 'b', dtype: 'BF16', shape: [3], path: file, byteLength: 6 });
    assert.equal(offset, readFileSync(file).length - 6);
  });

  const entry = (change: Record<string, unknown>) => (entries: Record<string, unknown>) => ({
    ...entries,
    b: { dtype: 'BF16', shape: [3], data_offsets: [16, 22], ...change },
  });
  for (const [what, header, problem, reason] of [
    ['an overlap', entry({ data_offsets: [14, 20] }), 'invalid', /overlapping tensors "a" and "b"/],
    ['an end beyond the file', entry({ data_offsets: [18, 24] }), 'incomplete', /needs \d+\. Download/],
    ['a size unlike the shape', entry({ shape: [4] }), 'invalid', /take 8 bytes, its data_offsets span 6/],
    ['a product beyond 2^53', entry({ shape: [2 ** 40, 2 ** 40] }), 'invalid', /too large/],
    ['a negative offset', entry({ data_offsets: [-2, 4] }), 'invalid', /data_offsets/],
    ['a fractional dimension', entry({ shape: [1.5] }), 'invalid', /whole numbers/],
    ['an unknown type', entry({ dtype: 'toString' }), 'invalid', /dtype is "toString"/],
    ['an entry that is none', () => ({ b: 7 }), 'invalid', /no object/],
    ['a header that is no object', () => [1], 'invalid', /no JSON object/],
  ] as const) {
    test(`${what} is refused`, () => {
      writeSafetensors(file, two, header);
      assert.throws(() => readSafetensors(file), { name: 'CheckpointError', problem, message: reason });
    });
  }

  test('cut or foreign bytes are refused', () => {
    writeSafetensors(file, two);
    const whole = readFileSync(file);
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(file, whole.subarray(0, length));
      assert.throws(() => readSafetensors(file), { name: 'CheckpointError', file }, `${length} bytes`);
    }
    writeFileSync(file, 'These are holiday notes, no weights.');
    assert.throws(() => readSafetensors(file), /declares a header of \d+ bytes/);
  });

  test('an index that leads out of its folder, or names a tensor that is not there, is refused', () => {
    writeCheckpoint(inFolder('index'), direct, {
      prefix: 'model.',
      config: textConfig(SHAPE),
      pieces: PIECES,
      shards: 2,
    });
    const index = inFolder('index', 'model.safetensors.index.json');
    const first = 'model-00001-of-00002.safetensors';
    for (const [places, reason] of [
      [{ 'model.norm.weight': '../text/model.safetensors' }, /not beside it/],
      [{ 'model.norm.bias': first }, /lacks the tensor "model\.norm\.bias"/],
      [{ 'model.norm.weight': 5 }, /no file for/],
    ] as const) {
      writeFileSync(index, JSON.stringify({ weight_map: places }));
      assert.match(refused(inFolder('index')), reason);
    }
  });

  test('a tokenizer that is not Gemma\u2019s kind is refused', () => {
    const tokenizer = inFolder('text', 'tokenizer.json');
    const whole = readFileSync(tokenizer, 'utf8');
    const change = (model: object) =>
      writeFileSync(
        tokenizer,
        JSON.stringify({ ...JSON.parse(whole), model: { ...JSON.parse(whole).model, ...model } }),
      );
    for (const [model, reason] of [
      [{ byte_fallback: false }, /byte fallback/],
      [{ merges: [['a']] }, /merge 0 that is not two pieces/],
      [{ vocab: { a: 1, b: 1 } }, /the same id 1/],
      [{ vocab: { a: 1e9 } }, /gives "a" the id/],
    ] as const) {
      change(model);
      assert.match(refused(inFolder('text')), reason);
    }
    rmSync(tokenizer);
    assert.match(refused(inFolder('text')), /tokenizer\.json is missing/);
  });
});

function quantize(input: string, out: string, type: string) {
  return spawnSync(process.execPath, [MAIN, 'quantize', input, out, '--type', type], { encoding: 'utf8' });
}

function converted(input: string, out: string, type: string): { readonly stderr: string } {
  const { status, stderr } = quantize(input, out, type);
  assert.equal(status, 0, stderr);
  return { stderr };
}

/** The one line of reason; nothing is left behind. */
function refused(input: string): string {
  const out = inFolder('refused.gguf');
  const { status, stderr } = quantize(input, out, 'f16');
  assert.equal(status, 1, stderr);
  assert.equal(stderr.trim().split('\n').length, 1, stderr);
  assert.ok(!existsSync(out));
  return stderr;
}

function tensorBytes(file: string, name: string): Buffer {
  const { offset, byteLength } = readGguf(file).tensors.get(name)!;
  return readFileSync(file).subarray(offset, offset + byteLength);
}

function assertSameModel(file: string, expected: string): void {
  const [a, b] = [readGguf(file), readGguf(expected)];
  assert.deepEqual(readGemma3Config(a).config, readGemma3Config(b).config);
  assert.deepEqual([...a.tensors.keys()].toSorted(), [...b.tensors.keys()].toSorted());
  for (const name of a.tensors.keys()) {
    assert.ok(tensorBytes(file, name).equals(tensorBytes(expected, name)), name);
  }
  const text = '  the function <b>returns</b>\n\tgetset(in, x) \u00fcn\u00ef <start_of_turn>';
  const [ours, theirs] = [a, b].map((gguf) => loadTokenizer(gguf, SHAPE.vocabulary));
  assert.deepEqual(ours!.encode(text), theirs!.encode(text));
  assert.deepEqual(ours!.special, theirs!.special);
}

async function logitsOf(modelPath: string): Promise<Float32Array> {
  const engine = await loadGemmaEngine({ modelPath, threads: 1, contextLength: 256 });
  try {
    return await engine.logits(IDS);
  } finally {
    await engine.dispose();
  }
}
