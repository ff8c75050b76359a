/** Images within prompts of the engine: what sees what, what is kept, and what is refused. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { NoImageTower } from '../../../sidecar/engine/engine.ts';
import type { GemmaEngine } from '../../../sidecar/engine/gemma-engine.ts';
import type { EncodeProgress } from '../../../sidecar/engine/image-encoder.ts';
import { loadGemmaEngine } from '../../../sidecar/engine/load-engine.ts';
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

/** Resolves after `count` more events. */
async function readOn(events: AsyncIterator<unknown>, count: number): Promise<'answer'> {
  for (let i = 0; i < count; i++) await events.next();
  return 'answer';
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
      const { memoryBytes, ...tower } = engine.imageTower!;
      assert.deepEqual(tower, { imageSize: 28, tokens: 4, layers: 2 });
      assert.equal(engine.imageProblem, null);
      const seen: string[] = [];
      const onProgress = ({ phase, layer, layers }: EncodeProgress) => {
        seen.push(`${phase} ${layer}/${layers}`);
      };
      const before = engine.memory().weights;
      const { values, tokens } = await engine.encodeImage(imageOf(PILLOW.tower), { onProgress });
      const loading = ['waiting 0/2', 'loading 0/2'];
      const encoding = ['encoding 0/2', 'encoding 1/2', 'encoding 2/2'];
      assert.deepEqual(seen, [...loading, ...encoding]);
      const loaded = engine.memory().weights - before;
      assert.ok(loaded > 0 && loaded < 4 * memoryBytes, `${loaded} bytes for ${memoryBytes}`);
      await engine.encodeImage(imageOf(PILLOW.tower), { onProgress });
      assert.deepEqual(seen.slice(5), ['waiting 0/2', ...encoding], 'the weights are there now');
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
      const onProgress = ({ phase }: EncodeProgress) => {
        if (phase === 'encoding') abort.abort(reason);
      };
      const cancelled = engine.encodeImage(imageOf(PILLOW.tower), { onProgress, signal: abort.signal });
      await assert.rejects(cancelled, reason);
      const loading = new AbortController();
      const early = engine.encodeImage(imageOf(PILLOW.tower), { signal: loading.signal });
      loading.abort(reason);
      await assert.rejects(early, reason);
      assert.equal((await engine.encodeImage(imageOf(PILLOW.tower))).tokens, 4);
    } finally {
      await engine.dispose();
    }
  });

  it('ends an encoding that is cancelled while it waits behind an answer', async () => {
    const engine = await loadGemmaEngine({ modelPath: narrowPath, mmprojPath: TOWER_FILE });
    try {
      const answer = engine.generate([2, 10, 11], { maxTokens: 4000, sampling: { temperature: 0 } });
      await answer.next();
      const abort = new AbortController();
      const waiting = engine.encodeImage(imageOf(PILLOW.tower), { signal: abort.signal });
      const next = engine.encodeImage(imageOf(PILLOW.tower));
      abort.abort(new Error('enough'));
      await assert.rejects(waiting, /enough/);
      const first = await Promise.race([next.then(() => 'image'), readOn(answer, 3)]);
      assert.equal(first, 'answer', 'the answer goes before the image');
      await answer.return();
      const { values } = await next;
      assert.deepEqual(values, (await engine.encodeImage(imageOf(PILLOW.tower))).values);
    } finally {
      await engine.dispose();
    }
  });

  const damaged: Readonly<Record<string, readonly [(file: string) => void, RegExp]>> = {
    'for another model': [(file) => copyFileSync(TOWER_FILE, file), /width 32, but this one has 256/],
    'that is cut short': [
      (file) => writeFileSync(file, readFileSync(TOWER_FILE).subarray(0, 20_000)),
      /tower\.gguf/,
    ],
    'that is no GGUF file': [(file) => writeFileSync(file, 'nothing of the kind'), /tower\.gguf/],
    'that is not there': [() => {}, /tower\.gguf does not exist/],
  };
  for (const [what, [write, reason]] of Object.entries(damaged)) {
    it(`reads text with a projector ${what}, and says why it sees nothing`, async () => {
      const mmprojPath = path.join(mkdtempSync(path.join(folder, 'damaged-')), 'tower.gguf');
      write(mmprojPath);
      const engine = await loadGemmaEngine({ modelPath, mmprojPath, contextLength: 1024 });
      try {
        assert.equal(engine.imageTower, null);
        assert.match(engine.imageProblem ?? '', reason);
        assert.deepEqual(engine.notes, [engine.imageProblem]);
        await assert.rejects(engine.encodeImage(imageOf(PILLOW.tower)), (error) => {
          return error instanceof NoImageTower && reason.test(error.message);
        });
        assert.ok((await engine.logits([2, 10, 11])).every(Number.isFinite));
      } finally {
        await engine.dispose();
      }
    });
  }

  it('says of a model without a tower how to get one', async () => {
    await withEngine(async (engine) => {
      assert.equal(engine.imageTower, null);
      assert.match(engine.imageProblem ?? '', /no image tower.*mmproj\*\.gguf/);
      assert.deepEqual(engine.notes, []);
      await assert.rejects(engine.encodeImage(imageOf(PILLOW.tower)), NoImageTower);
    });
  });
});
