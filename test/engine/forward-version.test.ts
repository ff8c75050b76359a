/**
 * KV kept on disk is found again under {@link FORWARD_VERSION}: whoever changes what the forward pass computes must raise it.
 * The addon's digest is in the fingerprint too, so this guards what TypeScript decides. The oracle backend computes, whose
 * bits depend neither on the processor nor on kernels.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { FORWARD_VERSION } from '../../sidecar/engine/model/gemma3.ts';
import { createOracleBackend } from '../support/oracle-backend.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

/** Of another version: write what this test prints here. Of the same version: raise FORWARD_VERSION first. */
const PINNED = { version: 1, logits: '418504e03d876ef3' };

const SHAPE = {
  hidden: 64,
  layers: 6,
  heads: 2,
  kvHeads: 1,
  headDim: 32,
  feedForward: 96,
  window: 8,
  context: 512,
  vocabulary: 512,
  ropeFactor: 8,
};

const folder = mkdtempSync(path.join(tmpdir(), 'forward-'));
after(() => rmSync(folder, { recursive: true }));

test('the forward pass computes what its version says', async () => {
  const modelPath = path.join(folder, 'tiny.gguf');
  writeTinyModel(modelPath, { shape: SHAPE, body: 'F32', embedding: 'F32', branchScale: 0.5 });
  const engine = await loadGemmaEngine({ modelPath, createBackend: () => createOracleBackend() });
  const logits = await engine.logits([2, 7, 300, 41, 5, 99, 12, 500, 33, 64, 8, 7, 300], 3);
  await engine.dispose();
  // Twelve bits less than F32 holds: the last ones are not promised.
  const rounded = new Uint32Array(logits.buffer.slice(0)).map((bits) => (bits + 0x800) & 0xfffff000);
  const digest = createHash('sha256').update(rounded).digest('hex').slice(0, 16);
  assert.deepEqual(
    { version: FORWARD_VERSION, logits: digest },
    PINNED,
    `The forward pass gives other logits (${digest}). If that is meant, raise FORWARD_VERSION in gemma3.ts, so that KV kept on disk is read again, and pin both here.`,
  );
});
