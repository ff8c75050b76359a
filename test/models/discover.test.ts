/** Model files of other programs are found in their folders; whatever else lies there is passed over. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { findModels } from '../../sidecar/models/discover.ts';
import { modelPlaces } from '../../sidecar/models/places.ts';
import { temporaryFolder } from '../support/repository.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

const files = temporaryFolder();
const nano = path.join(files, 'nano.gguf');
before(() => writeTinyModel(nano));

const HEX = 'a1'.repeat(32);

function put(
  home: string,
  relative: string,
  content: string | Uint8Array | { readonly copy: string },
): string {
  const file = path.join(home, relative);
  mkdirSync(path.dirname(file), { recursive: true });
  if (typeof content === 'string' || content instanceof Uint8Array) writeFileSync(file, content);
  else copyFileSync(content.copy, file);
  return file;
}

const manifest = (digest: string) =>
  JSON.stringify({
    schemaVersion: 2,
    layers: [
      { mediaType: 'application/vnd.ollama.image.template', digest: `sha256:${'0'.repeat(64)}` },
      { mediaType: 'application/vnd.ollama.image.model', digest },
    ],
  });

/** A machine whose only places are below `home`. */
async function find(home: string, environment: Readonly<Record<string, string>> = {}) {
  const places = modelPlaces({ home, platform: 'linux', environment });
  return findModels(places.filter(({ folder }) => folder.startsWith(home)));
}

test('each program keeps models its own way, and all are found with size, type and fit', async () => {
  const home = temporaryFolder();
  put(home, '.ollama/models/manifests/registry.ollama.ai/library/gemma3/4b', manifest(`sha256:${HEX}`));
  const blob = put(home, `.ollama/models/blobs/sha256-${HEX}`, { copy: nano });
  const lmStudio = put(home, '.lmstudio/models/google/gemma-3/nano.gguf', { copy: nano });
  const llama = put(home, '.cache/llama.cpp/nano.gguf', { copy: nano });
  const hub = '.cache/huggingface/hub/models--google--gemma/';
  const stored = put(home, `${hub}blobs/${HEX}`, { copy: nano });
  const snapshot = path.join(home, hub, 'snapshots/main');
  mkdirSync(snapshot, { recursive: true });
  symlinkSync(stored, path.join(snapshot, 'nano.gguf'));
  const found = await find(home);
  assert.deepEqual(
    new Map(found.map((model) => [model.source, model.path])),
    new Map([
      ['ollama', blob],
      ['lm-studio', lmStudio],
      ['llama.cpp', llama],
      ['hugging-face', path.join(snapshot, 'nano.gguf')],
    ]),
  );
  assert.equal(found.length, 4);
  assert.equal(found.find(({ source }) => source === 'ollama')?.name, 'gemma3:4b');
  for (const model of found) {
    assert.equal(model.fileBytes, readFileSync(nano).length);
    assert.ok(model.parameters > 0 && model.trainedContext > 0);
    assert.equal(model.fittingContext, model.trainedContext);
    assert.match(model.quantisation, /^(F|Q)/);
  }
});

test('what is no whole Gemma 3 model is passed over', async () => {
  const home = temporaryFolder();
  const lmStudio = '.lmstudio/models/';
  put(home, `${lmStudio}a/text.gguf`, 'not a model');
  put(home, `${lmStudio}a/notes.txt`, { copy: nano });
  truncateSync(put(home, `${lmStudio}a/half.gguf`, { copy: nano }), 4096);
  const other = Buffer.from(readFileSync(nano));
  other.write('llama3', other.indexOf('gemma3'));
  put(home, `${lmStudio}a/other.gguf`, other);
  symlinkSync(path.join(home, 'nowhere'), path.join(home, lmStudio, 'a/dangling.gguf'));
  symlinkSync(home, path.join(home, lmStudio, 'loop'));
  assert.deepEqual(await find(home), []);
});

test("a manifest cannot lead out of Ollama's store", async () => {
  const home = temporaryFolder();
  const outside = put(home, 'outside.gguf', { copy: nano });
  const folder = '.ollama/models/manifests/r/l/m/';
  put(home, '.ollama/models/blobs/x', '');
  for (const [tag, digest] of [
    ['up', 'sha256:../../../outside.gguf'],
    ['absolute', outside],
    ['upper', `sha256:${'A'.repeat(64)}`],
    ['missing', `sha256:${'b'.repeat(64)}`],
  ] as const) {
    put(home, folder + tag, manifest(digest));
  }
  put(home, `${folder}broken`, '{');
  put(home, `${folder}list`, '{"layers":[null,3,"x"]}');
  assert.deepEqual(await find(home), []);
});

test('a variable moves a folder, and the same file is listed once', async () => {
  const home = temporaryFolder();
  const moved = path.join(home, 'elsewhere');
  put(moved, 'nano.gguf', { copy: nano });
  symlinkSync(path.join(moved, 'nano.gguf'), path.join(moved, 'again.gguf'));
  const found = await find(home, { LLAMA_CACHE: moved });
  assert.deepEqual(
    found.map(({ source }) => source),
    ['llama.cpp'],
  );
});
