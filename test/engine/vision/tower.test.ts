/** The image tower against the numpy reference's soft tokens, and the files it is read from. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Backend } from '../../../sidecar/engine/backend/backend.ts';
import { createCpuBackend } from '../../../sidecar/engine/backend/cpu/cpu-backend.ts';
import { readGguf } from '../../../sidecar/engine/model/gguf.ts';
import { GgufError } from '../../../sidecar/engine/model/gguf-error.ts';
import type { GgufValue } from '../../../sidecar/engine/model/gguf-metadata.ts';
import { resize } from '../../../sidecar/engine/vision/resize.ts';
import { type RunPass, Tower } from '../../../sidecar/engine/vision/tower.ts';
import { readTowerFile } from '../../../sidecar/engine/vision/tower-file.ts';
import { createOracleBackend } from '../../support/oracle-backend.ts';
import {
  expectedEmbedding,
  imageOf,
  PILLOW,
  TOWER_FILE,
  type TowerVariant,
  writeTower,
} from '../../support/tower-file.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tower-'));
});
after(() => rmSync(folder, { recursive: true }));

async function encode(file: string, backend: Backend): Promise<Float32Array> {
  const tower = await Tower.load(readTowerFile(readGguf(file)), backend);
  const image = resize(imageOf(PILLOW.tower), 28, 28);
  const layers: number[] = [];
  const run: RunPass = async (record, finish) => {
    const pass = backend.createPass();
    record(pass);
    await pass.submit();
    finish?.();
  };
  const result = await tower.encode(image, run, (done) => layers.push(done));
  assert.deepEqual(layers, [0, 1, 2]);
  tower.dispose();
  backend.dispose();
  return result;
}

function relativeError(actual: Float32Array, expected: Float32Array): number {
  let [difference, total] = [0, 0];
  for (const [i, value] of expected.entries()) {
    difference += (actual[i]! - value) ** 2;
    total += value ** 2;
  }
  return Math.sqrt(difference / total);
}

function variant(name: string, changes: TowerVariant): string {
  const file = path.join(folder, `${name}.gguf`);
  writeTower(file, changes);
  return file;
}

describe('the tower', () => {
  it('equals the reference: 1e-5 in F32, 1e-2 by default, 1e-5 on the oracle', async () => {
    const expected = expectedEmbedding();
    const error = async (backend: Backend) => relativeError(await encode(TOWER_FILE, backend), expected);
    assert.ok((await error(createOracleBackend())) < 1e-5);
    assert.ok((await error(createCpuBackend({ precision: 'f32' }))) < 1e-5);
    const byDefault = await error(createCpuBackend());
    assert.ok(byDefault < 1e-2, `${byDefault}`);
  });

  it('gives its weights back', async () => {
    const backend = createCpuBackend();
    const tower = await Tower.load(readTowerFile(readGguf(TOWER_FILE)), backend);
    assert.ok(backend.memory().weights > 0);
    tower.dispose();
    assert.equal(backend.memory().weights, 0);
    backend.dispose();
  });

  it('refuses an image of another size', async () => {
    const backend = createCpuBackend();
    const tower = await Tower.load(readTowerFile(readGguf(TOWER_FILE)), backend);
    const run = () => Promise.resolve();
    await assert.rejects(
      tower.encode({ width: 14, height: 28, data: new Uint8Array(14 * 28 * 3) }, run, () => {}),
      /sees 28 x 28 pixels, not 14 x 28/,
    );
    backend.dispose();
  });
});

describe('tower files', () => {
  it('with the two feed-forward names exchanged give the same tokens', async () => {
    const swapped = variant('swapped', {
      rename: (name) => name.replace(/ffn_(up|down)/, (_, w) => (w === 'up' ? 'ffn_down' : 'ffn_up')),
    });
    assert.deepEqual(
      await encode(swapped, createCpuBackend({ precision: 'f32' })),
      await encode(TOWER_FILE, createCpuBackend({ precision: 'f32' })),
    );
  });

  it('of one piece with the text model, in its own names, give the same tokens', async () => {
    const integer = (value: number): GgufValue => ({ kind: 'integer', type: 'u32', value });
    const names: readonly (readonly [string, string])[] = [
      ['v.patch_embd', 'v.patch_embedding'],
      ['v.position_embd', 'v.position_embedding'],
      ['v.post_ln', 'v.post_layernorm'],
      ['.ln1.', '.layer_norm1.'],
      ['.ln2.', '.layer_norm2.'],
      ['attn_out.', 'attn_output.'],
      ['ffn_up', 'mlp.fc1'],
      ['ffn_down', 'mlp.fc2'],
      ['mm.input_projection', 'mm.mm_input_projection'],
      ['mm.soft_emb_norm', 'mm.mm_soft_emb_norm'],
    ];
    const single = variant('single', {
      rename: (name) => names.reduce((text, [ours, theirs]) => text.replace(ours, theirs), name),
      metadata: () => ({
        'general.architecture': { kind: 'string', value: 'gemma3' },
        'gemma3.vision.block_count': integer(2),
        'gemma3.vision.embedding_length': integer(36),
        'gemma3.vision.feed_forward_length': integer(44),
        'gemma3.vision.image_size': integer(28),
        'gemma3.vision.patch_size': integer(7),
        'gemma3.vision.attention.head_count': integer(3),
        'gemma3.mm.tokens_per_image': integer(4),
      }),
    });
    assert.deepEqual(
      await encode(single, createCpuBackend({ precision: 'f32' })),
      await encode(TOWER_FILE, createCpuBackend({ precision: 'f32' })),
    );
  });

  for (const type of ['F32', 'BF16'] as const) {
    it(`of ${type} stay within 1e-2`, async () => {
      const file = variant(type, { type: (name) => (name.includes('attn_q.weight') ? type : undefined) });
      assert.ok(relativeError(await encode(file, createCpuBackend()), expectedEmbedding()) < 1e-2);
    });
  }

  it('of Q8_0 stay within 2e-2', async () => {
    // The projection's rows are the only ones here that are whole blocks of 32.
    const file = variant('q8', { type: (name) => (name.startsWith('mm.input') ? 'Q8_0' : undefined) });
    assert.ok(relativeError(await encode(file, createCpuBackend()), expectedEmbedding()) < 2e-2);
  });

  const refused: Readonly<Record<string, readonly [TowerVariant, RegExp]>> = {
    'another projector': [
      { metadata: (own) => ({ ...own, 'clip.projector_type': { kind: 'string', value: 'mlp' } }) },
      /clip\.projector_type is "mlp", not "gemma3"/,
    ],
    QuickGELU: [
      { metadata: (own) => ({ ...own, 'clip.use_gelu': { kind: 'boolean', value: false } }) },
      /clip\.use_gelu is false/,
    ],
    'heads that do not divide the width': [
      {
        metadata: (own) => ({
          ...own,
          'clip.vision.attention.head_count': { kind: 'integer', type: 'u32', value: 5 },
        }),
      },
      /attention\.head_count of 5 does not divide 36/,
    ],
    'a missing tensor': [{ omit: 'v.blk.1.ln2.bias' }, /no tensor v\.blk\.1\.ln2\.bias/],
    'a tensor of another shape': [
      {
        shape: (name, shape) =>
          name === 'v.blk.0.attn_k.weight' ? [...shape].map((n, i) => (i === 0 ? n * 2 : n / 2)) : shape,
      },
      /v\.blk\.0\.attn_k\.weight has the shape 72 x 18/,
    ],
    'a type that is not read': [
      { type: (name) => (name.startsWith('mm.input') ? 'Q4_0' : undefined) },
      /mm\.input_projection\.weight is Q4_0/,
    ],
    'no tower at all': [
      { metadata: () => ({ 'general.architecture': { kind: 'string', value: 'gemma3' } }) },
      /holds no image tower/,
    ],
  };
  for (const [what, [changes, message]] of Object.entries(refused)) {
    it(`with ${what} are refused by name`, () => {
      const file = variant('refused', changes);
      assert.throws(
        () => readTowerFile(readGguf(file)),
        (error) => error instanceof GgufError && message.test(error.message),
      );
    });
  }
});
