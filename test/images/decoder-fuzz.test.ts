/**
 * Damaged image files: an error or pixels, never anything else. The seed is fixed. IMAGE_FUZZ sets the number of mutations of
 * each file (for a nightly run: 42,000 are a million in all).
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { decodePixels } from '../../sidecar/images/decoders.ts';
import { exifOrientation } from '../../sidecar/images/exif.ts';
import { checkImage, type ImageHeader, ImageProblem } from '../../sidecar/protocol/image-header.ts';
import { seededRandom } from '../support/random.ts';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/images');
const ROUNDS = Number(process.env['IMAGE_FUZZ'] ?? '40');
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

/** One of everything that the renderer knows: clips, gradients, masks, patterns, filters, text, an image within. */
const DRAWING = `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="60" height="40" viewBox="0 0 120 80">
<defs><linearGradient id="g" x1="0" x2="1"><stop offset="0" stop-color="#f00"/><stop offset="1" stop-color="blue"/></linearGradient>
<clipPath id="c"><circle cx="40" cy="40" r="30"/></clipPath><mask id="m"><rect width="90" height="60" fill="white"/></mask>
<pattern id="p" width="8" height="8" patternUnits="userSpaceOnUse"><path d="M0 0L8 8"/></pattern>
<filter id="f"><feGaussianBlur stdDeviation="2"/><feOffset dx="3"/></filter><marker id="k"><path d="M0 0h4v4z"/></marker></defs>
<style>.a{stroke:green;stroke-width:2}</style><g clip-path="url(#c)" mask="url(#m)" transform="rotate(5) scale(1.1)">
<rect class="a" x="5" y="5" width="80" height="50" rx="4" fill="url(#g)" opacity=".8"/><ellipse cx="50" cy="40" rx="20" ry="9" fill="url(#p)"/>
<path d="M10 10C20 20 40 20 50 10S80 0 90 30Q60 70 20 60A9 4 30 1 0 3 3Z" filter="url(#f)" marker-end="url(#k)"/></g>
<text x="10" y="70" font-size="12">A &amp; B<tspan dx="4">c</tspan></text><use href="#g"/><polyline points="1,2 3,4 5,60" stroke-dasharray="3 2"/>
<image width="9" height="9" href="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="/></svg>`;

const FILES = new Map<string, Uint8Array>([
  ...readdirSync(FIXTURES)
    .filter((file) => !file.endsWith('.json'))
    .map((file) => [file, new Uint8Array(readFileSync(path.join(FIXTURES, file)))] as const),
  ['drawing.svg', new TextEncoder().encode(DRAWING)],
]);

describe('mutations of', () => {
  for (const [name, original] of FILES) {
    it(name, async () => {
      const random = seededRandom(name.length * 7919 + name.charCodeAt(0));
      // A drawing takes as long as a hundred of the others.
      const rounds = name.endsWith('.svg') ? Math.max(2, Math.floor(ROUNDS / 40)) : ROUNDS;
      for (let round = 0; round < rounds; round++) {
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
