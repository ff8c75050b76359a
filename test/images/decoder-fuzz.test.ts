/** Damaged image files: an error or pixels of the size that the header says, never anything else. The seed is fixed. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { decodePixels } from '../../sidecar/images/decoders.ts';
import { exifOrientation } from '../../sidecar/images/exif.ts';
import { checkImage, type ImageHeader, ImageProblem } from '../../sidecar/protocol/image-header.ts';
import { seededRandom } from '../support/random.ts';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/images');
const ROUNDS = 40;
/** What a header may promise here; larger ones take memory, not other paths. */
const MOST_PIXELS = 1 << 18;

function mutated(bytes: Uint8Array, random: () => number): Uint8Array {
  const result = Uint8Array.from(bytes);
  const at = () => Math.floor(random() * result.length);
  for (let n = 1 + Math.floor(random() * 4); n > 0; n--) {
    const kind = random();
    if (kind < 0.5) result[at()] = Math.floor(random() * 256);
    else if (kind < 0.75) result[at()]! ^= 1 << Math.floor(random() * 8);
    else result.copyWithin(at(), at(), at());
  }
  return random() < 0.2 ? result.subarray(0, at()) : result;
}

function headerOf(bytes: Uint8Array): ImageHeader | null {
  try {
    return checkImage('x', bytes);
  } catch (error) {
    assert.ok(error instanceof ImageProblem, String(error));
    return null;
  }
}

async function decodedSize(
  bytes: Uint8Array,
  { type }: ImageHeader,
): Promise<readonly [number, number] | null> {
  try {
    const { width, height, rgba } = await decodePixels(type, bytes);
    assert.equal(rgba.length, 4 * width * height);
    return [width, height];
  } catch (error) {
    assert.ok(
      error instanceof Error || typeof error === 'string' || typeof error === 'number',
      String(error),
    );
    if (error instanceof assert.AssertionError) throw error;
    return null;
  }
}

describe('mutations of', () => {
  for (const name of readdirSync(FIXTURES).filter((file) => !file.endsWith('.json'))) {
    it(name, async () => {
      const random = seededRandom(name.length * 7919 + name.charCodeAt(0));
      const original = new Uint8Array(readFileSync(path.join(FIXTURES, name)));
      for (let round = 0; round < ROUNDS; round++) {
        const bytes = mutated(original, random);
        const header = headerOf(bytes);
        if (header === null || header.width * header.height > MOST_PIXELS) continue;
        await decodedSize(bytes, header);
        if (header.type === 'png' || header.type === 'jpeg' || header.type === 'webp') {
          const orientation = exifOrientation(header.type, bytes);
          assert.ok(orientation >= 1 && orientation <= 8);
        }
      }
    });
  }
});
