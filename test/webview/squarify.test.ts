import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { squarify } from '../../webview/squarify.ts';

const AREA = { x: 10, y: 20, width: 600, height: 400 };

describe('the treemap layout', () => {
  it('is the one of the paper', () => {
    const boxes = squarify([6, 6, 4, 3, 2, 2, 1], { x: 0, y: 0, width: 6, height: 4 });
    const rounded = boxes.map(({ x, y, width, height }) =>
      [x, y, width, height].map((value) => Math.round(value * 100) / 100),
    );
    assert.deepEqual(rounded.slice(0, 4), [
      [0, 0, 3, 2],
      [0, 2, 3, 2],
      [3, 0, 1.71, 2.33],
      [4.71, 0, 1.29, 2.33],
    ]);
  });

  it('fills the area, each box by its size, none over another', () => {
    const sizes = fc
      .array(fc.integer({ min: 0, max: 100_000 }), { minLength: 1, maxLength: 60 })
      .map((list) => list.sort((a, b) => b - a));
    fc.assert(
      fc.property(sizes, (list) => {
        const total = list.reduce((sum, size) => sum + size, 0);
        const boxes = squarify(list, AREA);
        assert.equal(boxes.length, list.length);
        for (const [i, { x, y, width, height }] of boxes.entries()) {
          const wanted = total > 0 ? ((list[i] ?? 0) / total) * AREA.width * AREA.height : 0;
          assert.ok(Math.abs(width * height - wanted) < 0.01, `${width * height} for ${wanted}`);
          assert.ok(x >= AREA.x - 1e-6 && y >= AREA.y - 1e-6);
          assert.ok(x + width <= AREA.x + AREA.width + 1e-6 && y + height <= AREA.y + AREA.height + 1e-6);
        }
        for (const [i, a] of boxes.entries())
          for (const b of boxes.slice(i + 1)) {
            const overlapX = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
            const overlapY = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
            assert.ok(Math.min(overlapX, overlapY) < 1e-6);
          }
      }),
      { numRuns: 300 },
    );
  });
});
