/** Which parts of an image are shown larger, and when that is advised. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { detailCrops, hasSmallText } from '../../../sidecar/engine/vision/pan-and-scan.ts';

const size = (width: number, height: number) => ({ width, height });
const IMAGE_SIZE = 896;

describe('detail crops', () => {
  const counts: readonly (readonly [number, number, number])[] = [
    [1920, 1080, 2],
    [1080, 2400, 2],
    [1280, 800, 2],
    [3000, 1000, 3],
    [12_000, 1000, 4],
    [800, 600, 0],
    [890, 300, 0],
    [2000, 200, 0],
    [1000, 1000, 0],
    [1, 1, 0],
    [50_000_000, 1, 0],
  ];
  for (const [width, height, count] of counts) {
    it(`of ${width} x ${height} are ${count}, and cover it`, () => {
      const crops = detailCrops(size(width, height), IMAGE_SIZE);
      assert.equal(crops.length, count);
      if (count === 0) return;
      const area = crops.reduce((sum, crop) => sum + crop.width * crop.height, 0);
      assert.equal(area, width * height);
      for (const [i, crop] of crops.entries()) {
        const after = width >= height ? crop.x + crop.width : crop.y + crop.height;
        const next = crops[i + 1];
        assert.equal(after, next ? Math.max(next.x, next.y) : Math.max(width, height));
      }
    });
  }
});

describe('text of ordinary size', () => {
  const small: readonly (readonly [number, number, boolean])[] = [
    [800, 600, false],
    [1254, 800, false],
    [1255, 800, true],
    [1000, 2091, true],
    [1000, 2090, false],
    [3840, 2160, true],
  ];
  for (const [width, height, expected] of small) {
    it(`${expected ? 'is' : 'is not'} too small on ${width} x ${height}`, () => {
      assert.equal(hasSmallText(size(width, height), IMAGE_SIZE), expected);
    });
  }
});
