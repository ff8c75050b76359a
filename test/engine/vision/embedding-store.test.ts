/** What the tower made of images, on disk: found again, checked, bounded; and what makes an image another one. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { loadGemmaEngine } from '../../../sidecar/engine/load-engine.ts';
import { EmbeddingStore } from '../../../sidecar/engine/vision/embedding-store.ts';
import { temporaryFolder } from '../../support/repository.ts';
import { MODEL_SHAPES, writeTinyModel } from '../../support/tiny-model.ts';
import { imageOf, PILLOW, TOWER_FILE } from '../../support/tower-file.ts';

const key = (n: number) => n.toString(16).padStart(64, '0');
const embedding = (n: number, width = 32) => ({
  key: key(n),
  tokens: 4,
  values: Float32Array.from({ length: 4 * width }, (_, i) => n + i / 7),
});
const soft = (folder: string) => readdirSync(path.join(folder, 'images')).sort();

describe('the store', () => {
  it('gives back the very bits, in files that only the user reads', async () => {
    const folder = temporaryFolder();
    const store = new EmbeddingStore(folder);
    assert.equal(await store.get(key(1)), null);
    await store.put(embedding(1));
    assert.deepEqual(await new EmbeddingStore(folder).get(key(1)), embedding(1));
    assert.deepEqual(soft(folder), [`${key(1)}.soft`]);
    assert.equal(statSync(path.join(folder, 'images', `${key(1)}.soft`)).mode & 0o777, 0o600);
    assert.equal(statSync(path.join(folder, 'images')).mode & 0o777, 0o700);
    assert.deepEqual(await store.report(), { images: 1, bytes: 48 + 4 * 4 * 32 });
    assert.equal(await store.clear(), 48 + 4 * 4 * 32);
    assert.deepEqual(soft(folder), []);
  });

  it('forgets those used longest ago, and those that are too old', async () => {
    const folder = temporaryFolder();
    const store = new EmbeddingStore(folder, { mostBytes: 1500 });
    const at = (n: number, seconds: number) =>
      utimesSync(path.join(folder, 'images', `${key(n)}.soft`), seconds, seconds);
    await store.put(embedding(1));
    at(1, 1000);
    await store.put(embedding(2));
    at(2, 2000);
    await store.get(key(1));
    await store.put(embedding(3));
    assert.deepEqual(soft(folder), [`${key(1)}.soft`, `${key(3)}.soft`]);
    at(1, 1000);
    const young = new EmbeddingStore(folder, { mostAgeMs: 60_000 });
    await young.put(embedding(4));
    assert.deepEqual(soft(folder), [`${key(3)}.soft`, `${key(4)}.soft`]);
  });

  it('takes any damage for absence', async () => {
    const folder = temporaryFolder();
    const store = new EmbeddingStore(folder);
    await store.put(embedding(1));
    const file = path.join(folder, 'images', `${key(1)}.soft`);
    const whole = readFileSync(file);
    for (let i = 0; i < whole.length; i += 11) {
      writeFileSync(
        file,
        Uint8Array.from(whole, (byte, j) => (j === i ? byte ^ 4 : byte)),
      );
      assert.equal(await store.get(key(1)), null, `byte ${i}`);
    }
    for (const length of [0, 7, 47, 48, whole.length - 1]) {
      writeFileSync(file, whole);
      truncateSync(file, length);
      assert.equal(await store.get(key(1)), null, `${length} bytes`);
    }
  });

  it('loses nothing but time where nothing can be written', async () => {
    const file = path.join(temporaryFolder(), 'a-file');
    writeFileSync(file, '');
    const store = new EmbeddingStore(file);
    await store.put(embedding(1));
    assert.equal(await store.get(key(1)), null);
    assert.deepEqual(await store.report(), { images: 0, bytes: 0 });
    assert.equal(await store.clear(), 0);
  });
});

describe('the engine', () => {
  const modelPath = path.join(temporaryFolder(), 'narrow.gguf');
  before(() => writeTinyModel(modelPath, { shape: { ...MODEL_SHAPES.nano, hidden: 32 } }));
  const image = imageOf(PILLOW.tower);

  async function encode(folder: string | null, mmprojPath: string, letterbox = false) {
    const store = folder === null ? null : { folder, mostBytes: 1e9, mostAgeMs: 1e9, onNotice: () => {} };
    const engine = await loadGemmaEngine({ modelPath, mmprojPath, store, threads: 1 });
    try {
      return await engine.encodeImage(image, { letterbox });
    } finally {
      await engine.dispose();
    }
  }

  it('computes an image once, also after a restart', async () => {
    const folder = temporaryFolder();
    const first = await encode(folder, TOWER_FILE);
    const again = await encode(folder, TOWER_FILE);
    assert.deepEqual([first.cached, again.cached], [false, true]);
    assert.deepEqual(again.values, first.values);
    assert.equal((await encode(null, TOWER_FILE)).cached, false);
  });

  it('takes another recipe, and a tower that differs in one number deep in a tensor, for another image', async () => {
    const folder = temporaryFolder();
    const first = await encode(folder, TOWER_FILE);
    assert.equal((await encode(folder, TOWER_FILE, true)).cached, false);
    const other = path.join(temporaryFolder(), 'other.gguf');
    const bytes = readFileSync(TOWER_FILE);
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(other, bytes);
    const changed = await encode(folder, other);
    assert.equal(changed.cached, false);
    assert.notEqual(changed.key, first.key);
  });
});
