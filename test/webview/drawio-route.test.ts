/** Ways of draw.io's edges: pure geometry. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Box, centreOf, entersBox, type Point } from '../../webview/drawio/geometry.ts';
import { corners, route, type Terminal } from '../../webview/drawio/route.ts';

const terminal = (box: Box, parts: Partial<Terminal> = {}): Terminal => ({
  box,
  rotation: 0,
  outline: null,
  fixed: null,
  ...parts,
});
const box = (x: number, y: number, width = 100, height = 60): Box => ({ x, y, width, height });

const near = (a: number, b: number) => Math.abs(a - b) < 0.01;
const isOnEdge = ({ x, y }: Point, { x: left, y: top, width, height }: Box) =>
  x >= left - 0.01 &&
  x <= left + width + 0.01 &&
  y >= top - 0.01 &&
  y <= top + height + 0.01 &&
  (near(x, left) || near(x, left + width) || near(y, top) || near(y, top + height));

describe('the way of an edge of draw.io', () => {
  it('that is straight goes from outline to outline', () => {
    const [from, to] = [terminal(box(0, 0)), terminal(box(300, 0))];
    assert.deepEqual(route('straight', from, to, [], false), [
      { x: 100, y: 30 },
      { x: 300, y: 30 },
    ]);
    const rhombus = corners(box(300, 0)).map((corner, index, all) => {
      const next = all[(index + 1) % 4]!;
      return { x: (corner.x + next.x) / 2, y: (corner.y + next.y) / 2 };
    });
    const above = terminal(box(0, -300, 100, 600), { outline: 'ellipse' });
    const [start, end] = route('straight', above, terminal(box(300, 0), { outline: rhombus }), [], false);
    const { x, y } = centreOf(above.box);
    assert.ok(near(((start!.x - x) / 50) ** 2 + ((start!.y - y) / 300) ** 2, 1), 'on the ellipse');
    assert.ok(near(Math.abs(end!.x - 350) / 50 + Math.abs(end!.y - 30) / 30, 1), 'on the rhombus');
  });

  it('that is tied to a place begins there; one of a turned shape on its turned outline', () => {
    const tied = terminal(box(0, 0), { fixed: { x: 100, y: 15 } });
    assert.deepEqual(route('straight', tied, terminal(box(300, 0)), [], false)[0], { x: 100, y: 15 });
    const turned = terminal(box(0, 0), { rotation: 90 });
    const [start] = route('straight', turned, terminal(box(300, 0)), [], false);
    assert.ok(near(start!.x, 80) && near(start!.y, 30), JSON.stringify(start));
  });

  it('between boxes that are not in each other’s way has right angles and enters neither', () => {
    const size = fc.integer({ min: 20, max: 200 });
    const place = fc.record({ x: fc.integer({ min: 0, max: 900 }), y: fc.integer({ min: 0, max: 900 }) });
    const boxes = fc.tuple(place, size, size, place, size, size);
    fc.assert(
      fc.property(boxes, ([a, aWidth, aHeight, b, bWidth, bHeight]) => {
        const [from, to] = [box(a.x, a.y, aWidth, aHeight), box(b.x, b.y, bWidth, bHeight)];
        const gap = Math.max(
          ...[from.x - (to.x + to.width), to.x - (from.x + from.width)],
          ...[from.y - (to.y + to.height), to.y - (from.y + from.height)],
        );
        fc.pre(gap > 45);
        const way = route('orthogonal', terminal(from), terminal(to), [], false);
        assert.ok(isOnEdge(way[0]!, from) && isOnEdge(way.at(-1)!, to), JSON.stringify(way));
        for (const [index, point] of way.entries()) {
          const before = way[index - 1];
          if (before === undefined) continue;
          assert.ok(before.x === point.x || before.y === point.y, JSON.stringify(way));
          assert.ok(!entersBox(before, point, from) && !entersBox(before, point, to), JSON.stringify(way));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('between boxes beside each other is one line', () => {
    const way = route('orthogonal', terminal(box(0, 0)), terminal(box(300, 20)), [], false);
    assert.deepEqual(way, [
      { x: 100, y: 40 },
      { x: 300, y: 40 },
    ]);
  });

  it('goes through the points it was given, with right angles', () => {
    const [from, to] = [terminal(box(0, 0)), terminal(box(0, 300))];
    const points = [
      { x: -60, y: 30 },
      { x: -60, y: 330 },
    ];
    assert.deepEqual(route('orthogonal', from, to, points, false), [
      { x: 0, y: 30 },
      ...points,
      { x: 0, y: 330 },
    ]);
  });

  it('of an elbow bends in the middle, or where it is told', () => {
    const [from, to] = [terminal(box(0, 0)), terminal(box(300, 200))];
    const bends = (way: readonly Point[]) => way.slice(1, -1).map(({ x, y }) => [x, y]);
    assert.deepEqual(bends(route('elbow-horizontal', from, to, [], false)), [
      [200, 30],
      [200, 230],
    ]);
    assert.deepEqual(bends(route('elbow-vertical', from, to, [{ x: 0, y: 80 }], false)), [
      [50, 80],
      [350, 80],
    ]);
  });

  it('from a shape to itself goes round a corner outside', () => {
    const own = terminal(box(0, 0));
    const way = route('orthogonal', own, own, [], true);
    assert.ok(isOnEdge(way[0]!, own.box) && isOnEdge(way.at(-1)!, own.box));
    assert.ok(way.some(({ x }) => x > 110));
  });
});
