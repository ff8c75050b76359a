/** The projector file that belongs to a model, among those that lie around it. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { describeModel } from '../../sidecar/models/describe.ts';
import { findImageTower } from '../../sidecar/models/image-tower.ts';
import { temporaryFolder } from '../support/repository.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';
import { TOWER_FILE, writeTower } from '../support/tower-file.ts';

const narrow = path.join(temporaryFolder(), 'narrow.gguf');
before(() => writeTinyModel(narrow, { shape: { ...MODEL_SHAPES.nano, hidden: 32 } }));

/** A folder with the model and towers; `wide` ones lead to another width. */
function folderWith(model: string, towers: Readonly<Record<string, 'fitting' | 'wide' | 'damaged'>>): string {
  const folder = temporaryFolder();
  copyFileSync(narrow, path.join(folder, model));
  for (const [name, kind] of Object.entries(towers)) {
    const file = path.join(folder, name);
    if (kind === 'damaged') writeFileSync(file, 'GGUF');
    else if (kind === 'fitting') copyFileSync(TOWER_FILE, file);
    else
      writeTower(file, {
        shape: (tensor, shape) => (tensor.startsWith('mm.input') ? [shape[1]!, shape[0]!] : shape),
      });
  }
  return folder;
}

test('lies beside the model under a name with mmproj in it, and leads to its width', async () => {
  const folder = folderWith('gemma-3-4b-it-Q4_0.gguf', {
    'mmproj-gemma-3-12b-it.gguf': 'wide',
    'mmproj-another-it.gguf': 'fitting',
    'gemma-3-4b-it-mmproj-f16.GGUF': 'fitting',
    'mmproj.txt': 'damaged',
    'readme.gguf': 'damaged',
  });
  const model = path.join(folder, 'gemma-3-4b-it-Q4_0.gguf');
  assert.equal(await findImageTower(model), path.join(folder, 'gemma-3-4b-it-mmproj-f16.GGUF'));
});

test('is named although nothing fits, so that the reason can be said', async () => {
  const folder = folderWith('model.gguf', { 'mmproj-model.gguf': 'wide' });
  assert.equal(await findImageTower(path.join(folder, 'model.gguf')), path.join(folder, 'mmproj-model.gguf'));
});

test('is not looked for where there is none, or no folder', async () => {
  const folder = folderWith('model.gguf', {});
  assert.equal(await findImageTower(path.join(folder, 'model.gguf')), null);
  assert.equal(await findImageTower(path.join(folder, 'gone', 'model.gguf')), null);
});

test('is the layer of that kind in the manifest of Ollama', async () => {
  const store = temporaryFolder();
  const [model, tower] = ['a1'.repeat(32), 'b2'.repeat(32)];
  for (const part of ['blobs', 'manifests/hf.co/someone/gemma'])
    mkdirSync(path.join(store, part), { recursive: true });
  copyFileSync(narrow, path.join(store, 'blobs', `sha256-${model}`));
  copyFileSync(TOWER_FILE, path.join(store, 'blobs', `sha256-${tower}`));
  const layer = (kind: string, hex: string) => ({
    mediaType: `application/vnd.ollama.image.${kind}`,
    digest: `sha256:${hex}`,
  });
  writeFileSync(
    path.join(store, 'manifests/hf.co/someone/gemma/latest'),
    JSON.stringify({ layers: [layer('model', model), layer('projector', tower)] }),
  );
  assert.equal(
    await findImageTower(path.join(store, 'blobs', `sha256-${model}`)),
    path.join(store, 'blobs', `sha256-${tower}`),
  );
});

test('what the tower takes is no room for context', async () => {
  const alone = path.join(folderWith('model.gguf', {}), 'model.gguf');
  const withTower = path.join(folderWith('model.gguf', { 'mmproj.gguf': 'fitting' }), 'model.gguf');
  const damaged = path.join(folderWith('model.gguf', { 'mmproj.gguf': 'damaged' }), 'model.gguf');
  const GIB = 2 ** 30;
  const { trainedContext } = await describeModel(alone, 4 * GIB);
  const fitting = async (file: string, bytes: number) => (await describeModel(file, bytes)).fittingContext;
  assert.equal(await fitting(withTower, 4 * GIB), trainedContext);
  // The least memory in which all of the context fits, to a kilobyte.
  let [low, high] = [0, 4 * GIB];
  while (high - low > 1024) {
    const middle = Math.floor((low + high) / 2);
    if ((await fitting(alone, middle)) === trainedContext) high = middle;
    else low = middle;
  }
  assert.equal(await fitting(alone, high), trainedContext);
  assert.ok((await fitting(withTower, high)) < trainedContext);
  assert.equal(await fitting(damaged, high), trainedContext, 'a tower that cannot be used is not loaded');
  assert.equal(await fitting(alone, 1024), 0);
});
