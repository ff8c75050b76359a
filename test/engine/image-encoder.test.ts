/** The weights of the image tower come with the first image and go when none has come for a while. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as later } from 'node:timers/promises';
import { createCpuBackend } from '../../sidecar/engine/backend/cpu/cpu-backend.ts';
import { ImageEncoder } from '../../sidecar/engine/image-encoder.ts';
import { readGguf } from '../../sidecar/engine/model/gguf.ts';
import { readTowerFile } from '../../sidecar/engine/vision/tower-file.ts';
import { imageOf, PILLOW, TOWER_FILE } from '../support/tower-file.ts';

test('weights are loaded for an image, dropped when idle, and loaded again for the next one', async () => {
  const backend = createCpuBackend({ threads: 1 });
  const encoder = new ImageEncoder({
    file: readTowerFile(readGguf(TOWER_FILE)),
    backend,
    runPass: async ({ record, finish }) => {
      const pass = backend.createPass();
      record(pass);
      await pass.submit();
      finish?.();
    },
    store: null,
    digest: async () => 'a digest',
    idleMs: 20,
  });
  const phases: string[] = [];
  const encode = () =>
    encoder.encode(imageOf(PILLOW.tower), {
      letterbox: false,
      onProgress: ({ phase, layer }) => {
        if (layer === 0) phases.push(phase);
        if (phase === 'encoding') assert.ok(backend.memory().weights > 0);
      },
      signal: new AbortController().signal,
    });
  assert.equal(backend.memory().weights, 0);
  const first = await encode();
  while (backend.memory().weights > 0) await later(5);
  const second = await encode();
  assert.deepEqual(second.values, first.values);
  assert.deepEqual(phases, ['waiting', 'loading', 'encoding', 'waiting', 'loading', 'encoding']);
  await encoder.dispose();
  assert.equal(backend.memory().weights, 0);
  backend.dispose();
});
