/** Points, boxes and what lies between them. Pure. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Box extends Point {
  readonly width: number;
  readonly height: number;
}

export function centreOf({ x, y, width, height }: Box): Point {
  return { x: x + width / 2, y: y + height / 2 };
}

export function rotated(point: Point, degrees: number, around: Point): Point {
  if (degrees === 0) return point;
  const angle = (degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [dx, dy] = [point.x - around.x, point.y - around.y];
  return { x: around.x + dx * cos - dy * sin, y: around.y + dx * sin + dy * cos };
}

export function distance(a: Point, b: Point): number {
  return Math.hypot(b.x - a.x, b.y - a.y);
}

export function between(a: Point, b: Point, fraction: number): Point {
  return { x: a.x + (b.x - a.x) * fraction, y: a.y + (b.y - a.y) * fraction };
}

/** Where the line from the middle of an ellipse to `towards` leaves it. */
export function leavesEllipse(box: Box, towards: Point): Point {
  const centre = centreOf(box);
  const [dx, dy] = [towards.x - centre.x, towards.y - centre.y];
  const length = Math.hypot(dx / (box.width / 2 || 1), dy / (box.height / 2 || 1));
  return length === 0
    ? { x: box.x + box.width, y: centre.y }
    : { x: centre.x + dx / length, y: centre.y + dy / length };
}

/** Where the line from `from` to `towards` last crosses the polygon; null when it does not. */
export function leavesPolygon(polygon: readonly Point[], from: Point, towards: Point): Point | null {
  // Far enough that the line leaves the polygon, also where `towards` lies inside.
  const reach = 1e6 / (distance(from, towards) || 1);
  const end = between(from, towards, Math.max(1, reach));
  let [best, bestFraction] = [null as Point | null, -1];
  for (const [index, a] of polygon.entries()) {
    const b = polygon[(index + 1) % polygon.length];
    if (b === undefined) continue;
    const fraction = crossing(from, end, a, b);
    if (fraction !== null && fraction > bestFraction)
      [best, bestFraction] = [between(from, end, fraction), fraction];
  }
  return best;
}

/** How far along from `a` to `b` the segment from `c` to `d` crosses it, 0..1. */
function crossing(a: Point, b: Point, c: Point, d: Point): number | null {
  const [rx, ry, sx, sy] = [b.x - a.x, b.y - a.y, d.x - c.x, d.y - c.y];
  const determinant = rx * sy - ry * sx;
  if (determinant === 0) return null;
  const along = ((c.x - a.x) * sy - (c.y - a.y) * sx) / determinant;
  const across = ((c.x - a.x) * ry - (c.y - a.y) * rx) / determinant;
  const slack = 1e-9;
  return along >= 0 && along <= 1 && across >= -slack && across <= 1 + slack ? along : null;
}

export function lengthOf(path: readonly Point[]): number {
  return path.slice(1).reduce((sum, point, index) => sum + distance(path[index] ?? point, point), 0);
}

/** The point at a fraction of a path's length, and the direction there (of length 1). */
export function pointAlong(path: readonly Point[], fraction: number): { point: Point; direction: Point } {
  let left = lengthOf(path) * Math.max(0, Math.min(1, fraction));
  for (const [index, b] of path.entries()) {
    const a = path[index - 1];
    if (a === undefined) continue;
    const length = distance(a, b);
    if (left <= length && length > 0)
      return {
        point: between(a, b, left / length),
        direction: { x: (b.x - a.x) / length, y: (b.y - a.y) / length },
      };
    left -= length;
  }
  return { point: path.at(-1) ?? { x: 0, y: 0 }, direction: { x: 1, y: 0 } };
}

/** True when a part of the segment lies inside the box; its edges are not. */
export function entersBox(a: Point, b: Point, { x, y, width, height }: Box): boolean {
  let [from, to] = [0, 1];
  for (const [start, delta, least, most] of [
    [a.x, b.x - a.x, x, x + width],
    [a.y, b.y - a.y, y, y + height],
  ] as const) {
    if (delta === 0) {
      if (start <= least || start >= most) return false;
      continue;
    }
    const [first, second] = [(least - start) / delta, (most - start) / delta];
    from = Math.max(from, Math.min(first, second));
    to = Math.min(to, Math.max(first, second));
  }
  return to - from > 1e-9;
}
