import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { PictureShelf, type ShelvedPicture } from '../../extension/picture-shelf.ts';

function picture(width: number, height: number, random = false): ShelvedPicture {
  const rgba = new Uint8Array(width * height * 4).map((_, i) => (random ? Math.random() * 256 : i % 7));
  return { width, height, rgba, thumbnail: Uint8Array.of(1, 2, 3) };
}

describe('the shelf of pictures', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gemma-sidecar-shelf-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('gives back exactly what was put on it, to another session too', async () => {
    const put = picture(30, 20, true);
    await new PictureShelf(folder).put('key', put);
    assert.deepEqual(await new PictureShelf(folder).get('key'), put);
    assert.equal(await new PictureShelf(folder).get('other'), null);
    assert.equal(statSync(join(folder, 'key.picture')).mode & 0o077, 0);
  });

  it('takes a file with any bit changed, or any length cut, as absent', async () => {
    const shelf = new PictureShelf(folder);
    await shelf.put('key', picture(8, 8));
    const path = join(folder, 'key.picture');
    const whole = readFileSync(path);
    for (let i = 0; i < whole.length; i++) {
      const damaged = Buffer.from(whole);
      damaged[i] = (damaged[i] ?? 0) ^ 0x10;
      writeFileSync(path, damaged);
      assert.equal(await shelf.get('key'), null, `byte ${i}`);
      writeFileSync(path, whole.subarray(0, i));
      assert.equal(await shelf.get('key'), null, `cut at ${i}`);
    }
  });

  it('lets the oldest go when it is full', async () => {
    const shelf = new PictureShelf(folder, 10_000);
    for (const key of ['one', 'two', 'three']) {
      await shelf.put(key, picture(32, 32, true));
      // Times of files are what decides, so these must differ.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.deepEqual(readdirSync(folder).sort(), ['three.picture', 'two.picture']);
  });

  it('keeps only what a conversation still shows, and leaves no temporary file', async () => {
    const shelf = new PictureShelf(folder);
    for (const key of ['one', 'two']) await shelf.put(key, picture(4, 4));
    await shelf.keepOnly(new Set(['two']));
    assert.deepEqual(readdirSync(folder), ['two.picture']);
  });

  it('refuses a key that would leave its folder', async () => {
    await assert.rejects(new PictureShelf(folder).put('../x', picture(4, 4)), /no file name/);
    assert.equal(await new PictureShelf(folder).get('../x'), null);
  });
});
