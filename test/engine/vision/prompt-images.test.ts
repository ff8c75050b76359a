/** Images within prompts of the engine: what sees what, what is kept, and what is refused. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { NoImageTower } from '../../../sidecar/engine/engine.ts';
import type { GemmaEngine } from '../../../sidecar/engine/gemma-engine.ts';
import { loadGemmaEngine } from '../../../sidecar/engine/load-engine.ts';
import { GgufError } from '../../../sidecar/engine/model/gguf-error.ts';
import {
  type ImageEmbedding,
  imageIds,
  type PromptImage,
} from '../../../sidecar/engine/vision/prompt-image.ts';
import { seededRandom } from '../../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../../support/tiny-model.ts';
import { expectedEmbedding, imageOf, PILLOW, TOWER_FILE } from '../../support/tower-file.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'images-'));
const modelPath = path.join(folder, 'nano.gguf');
/** As wide as the fixtures' tower leads to. */
const narrowPath = path.join(folder, 'narrow.gguf');
const { hidden } = MODEL_SHAPES.nano;
before(() => {
  writeTinyModel(modelPath, { branchScale: 0.5 });
  writeTinyModel(narrowPath, { shape: { ...MODEL_SHAPES.nano, hidden: 32 }, branchScale: 0.5 });
});
after(() => rmSync(folder, { recursive: true }));

function embedding(key: string, tokens: number, seed: number): ImageEmbedding {
  const random = seededRandom(seed);
  return { key, tokens, values: Float32Array.from({ length: tokens * hidden }, () => 4 * random() - 2) };
}

/** Text, an image, text, an image, text. */
function promptOf(
  first: ImageEmbedding,
  second: ImageEmbedding,
): { ids: Uint32Array; images: PromptImage[] } {
  const ids = [2, 10, 11, ...imageIds(first), 12, 13, ...imageIds(second), 14, 15, 16];
  const images = [
    { position: 3, embedding: first },
    { position: 5 + first.tokens, embedding: second },
  ];
  return { ids: Uint32Array.from(ids), images };
}

async function withEngine<T>(
  use: (engine: GemmaEngine) => Promise<T>,
  options: { readonly chunk?: number } = {},
): Promise<T> {
  const engine = await loadGemmaEngine({ modelPath, contextLength: 1024, ...options });
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}

const [CAT, DOG] = [embedding('cat', 70, 1), embedding('dog', 40, 2)];

describe('images in a prompt', () => {
  it('give the same logits however the prompt is cut', async () => {
    const { ids, images } = promptOf(CAT, DOG);
    const whole = await withEngine((engine) => engine.logits(ids, 1, undefined, images));
    for (const chunk of [70, 71, 100]) {
      const cut = await withEngine((engine) => engine.logits(ids, 1, undefined, images), { chunk });
      assert.deepEqual(cut, whole, `chunks of ${chunk}`);
    }
  });

  it('are what the answer depends on', async () => {
    const one = promptOf(CAT, DOG);
    const other = promptOf(CAT, embedding('bird', 40, 3));
    await withEngine(async (engine) => {
      const first = await engine.logits(one.ids, 1, undefined, one.images);
      assert.notDeepEqual(await engine.logits(other.ids, 1, undefined, other.images), first);
    });
  });

  it('are read once: the same ones from the cache, others from where they begin', async () => {
    await withEngine(async (engine) => {
      const cachedOf = async ({ ids, images }: ReturnType<typeof promptOf>) => {
        for await (const event of engine.generate(ids, {
          images,
          maxTokens: 1,
          sampling: { temperature: 0 },
        }))
          if (event.kind === 'end') return event.cachedTokens;
        return null;
      };
      const one = promptOf(CAT, DOG);
      assert.equal(await cachedOf(one), 0);
      assert.equal(await cachedOf(one), one.ids.length - 1);
      assert.equal(await cachedOf(promptOf(CAT, embedding('bird', 40, 3))), 3 + 70 + 2);
    });
  });

  it('must stand where they are said to stand, before text, and be of this model', async () => {
    const { ids, images } = promptOf(CAT, DOG);
    const [first, second] = images as [PromptImage, PromptImage];
    await withEngine(async (engine) => {
      const refused = (given: ArrayLike<number>, where: readonly PromptImage[], reason: RegExp) =>
        assert.rejects(engine.logits(given, 1, undefined, where), reason);
      await refused(ids, [first], /Token 75 of the prompt/);
      await refused(ids, [second, first], /no image at position/);
      await refused(ids, [{ ...first, position: 4 }, second], /no image at position 4/);
      await refused(ids.subarray(0, -3), images, /with text behind it/);
      const narrow = { ...CAT, values: CAT.values.subarray(70) };
      await refused(ids, [{ position: 3, embedding: narrow }, second], /encoded for another model/);
    });
  });
});

describe('the engine', () => {
  it('encodes an image with the tower of a projector file, and text stays what it was', async () => {
    const plain = await loadGemmaEngine({ modelPath: narrowPath });
    const engine = await loadGemmaEngine({ modelPath: narrowPath, mmprojPath: TOWER_FILE, precision: 'f32' });
    const seeing = await loadGemmaEngine({ modelPath: narrowPath, mmprojPath: TOWER_FILE });
    try {
      assert.deepEqual(engine.imageTower, { imageSize: 28, tokens: 4, layers: 2 });
      const layers: number[] = [];
      const { values, tokens } = await engine.encodeImage(imageOf(PILLOW.tower), {
        onLayer: (done) => layers.push(done),
      });
      assert.deepEqual(layers, [0, 1, 2]);
      assert.equal(tokens, 4);
      for (const [i, expected] of expectedEmbedding().entries())
        assert.ok(Math.abs(values[i]! - expected) < 1e-4, `value ${i}`);
      await seeing.encodeImage(imageOf(PILLOW.tower));
      assert.deepEqual(await seeing.logits([2, 10, 11]), await plain.logits([2, 10, 11]));
    } finally {
      for (const each of [plain, engine, seeing]) await each.dispose();
    }
  });

  it('ends an encoding that is cancelled, and encodes the next image', async () => {
    const engine = await loadGemmaEngine({ modelPath: narrowPath, mmprojPath: TOWER_FILE });
    try {
      const reason = new Error('enough');
      const abort = new AbortController();
      const onLayer = () => abort.abort(reason);
      const cancelled = engine.encodeImage(imageOf(PILLOW.tower), { onLayer, signal: abort.signal });
      await assert.rejects(cancelled, reason);
      assert.equal((await engine.encodeImage(imageOf(PILLOW.tower))).tokens, 4);
    } finally {
      await engine.dispose();
    }
  });

  it('says that a model cannot see, and that a projector belongs to another model', async () => {
    await withEngine(async (engine) => {
      assert.equal(engine.imageTower, null);
      await assert.rejects(engine.encodeImage(imageOf(PILLOW.tower)), NoImageTower);
    });
    await assert.rejects(
      loadGemmaEngine({ modelPath, mmprojPath: TOWER_FILE }),
      (error) => error instanceof GgufError && /width 32, but this one has 256/.test(error.message),
    );
  });
});
