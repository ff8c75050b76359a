/** Resizing byte for byte as Pillow does, letterboxes, alpha, orientation, and sizes that are refused. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { letterboxed, resize, resizeInTurns } from '../../../sidecar/engine/vision/resize.ts';
import {
  checkImageSize,
  cropped,
  ImageError,
  imageId,
  oriented,
  rgbFromRgba,
} from '../../../sidecar/engine/vision/rgb-image.ts';
import { imageOf, PILLOW } from '../../support/tower-file.ts';

describe('pixels', () => {
  for (const expected of PILLOW.resized) {
    it(`resize to ${expected.width} x ${expected.height} as Pillow does`, () => {
      const { width, height } = expected;
      assert.deepEqual(resize(imageOf(PILLOW.source), width, height), imageOf(expected));
    });
  }

  it('resize in turns to the same bytes, and stop between two', async () => {
    const never = new AbortController().signal;
    // More than one turn, and a last one that is shorter.
    const source = { width: 1500, height: 1501, data: new Uint8Array(3 * 1500 * 1501) };
    for (let i = 0; i < source.data.length; i++) source.data[i] = (i * 31 + (i >> 9)) & 255;
    const whole = resize(source, 50, 40);
    assert.deepEqual(await resizeInTurns(source, 50, 40, never), whole);
    const small = imageOf(PILLOW.source);
    assert.deepEqual(await resizeInTurns(small, 90, 80, never), resize(small, 90, 80));
    await assert.rejects(resizeInTurns(source, 50, 40, AbortSignal.abort(new Error('enough'))), /enough/);
  });

  it('are letterboxed as llama.cpp does', () => {
    const { data } = letterboxed(imageOf(PILLOW.tower), 28);
    assert.deepEqual(data, new Uint8Array(Buffer.from(PILLOW.tower.letterbox, 'base64')));
  });

  for (const expected of PILLOW.oriented) {
    it(`turn with orientation ${expected.orientation} as Pillow does`, () => {
      const source = cropped(imageOf(PILLOW.source), { x: 0, y: 0, width: 3, height: 2 });
      assert.deepEqual(oriented(source, expected.orientation), imageOf(expected));
    });
  }

  it('lie over white where they are transparent', () => {
    const { data } = rgbFromRgba(3, 1, Uint8Array.of(9, 9, 9, 0, 10, 20, 30, 255, 0, 0, 0, 127));
    assert.deepEqual([...data], [255, 255, 255, 10, 20, 30, 128, 128, 128]);
  });

  it('have a name that depends on colours and size', () => {
    const data = new Uint8Array(12);
    const id = imageId({ width: 2, height: 2, data });
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.notEqual(imageId({ width: 4, height: 1, data }), id);
    assert.notEqual(imageId({ width: 2, height: 2, data: data.with(3, 1) }), id);
  });

  it('are refused beyond 50 million, or where there are none', () => {
    checkImageSize(10_000, 5_000);
    for (const [width, height] of [
      [30_000, 30_000],
      [0, 5],
      [5, -1],
      [Number.NaN, 5],
    ] as const) {
      assert.throws(() => checkImageSize(width, height), ImageError);
    }
    assert.throws(() => rgbFromRgba(2, 2, new Uint8Array(15)), /15 bytes; 2 x 2 pixels have 16/);
  });
});
