/** The way of an edge from one vertex to another, as draw.io's edge styles have it. Pure. */

import {
  type Box,
  centreOf,
  distance,
  entersBox,
  leavesEllipse,
  leavesPolygon,
  lengthOf,
  type Point,
  rotated,
} from './geometry.ts';

/** What an edge ends at: a vertex, or a point (a box without size). */
export interface Terminal {
  readonly box: Box;
  /** In degrees, around the middle of the box. */
  readonly rotation: number;
  /** As the shape is without its rotation; the box where it is null. */
  readonly outline: 'ellipse' | readonly Point[] | null;
  /** Where the edge is tied to; null where it may end anywhere. */
  readonly fixed: Point | null;
}

export type EdgeStyle = 'straight' | 'orthogonal' | 'elbow-horizontal' | 'elbow-vertical' | 'entity-relation';

/** How far an edge goes straight before it turns. */
const JETTY = 20;
const ENTITY_JETTY = 30;

export function route(
  style: EdgeStyle,
  source: Terminal,
  target: Terminal,
  waypoints: readonly Point[],
  isLoop: boolean,
): Point[] {
  if (isLoop && waypoints.length === 0) return loop(source.box);
  switch (style) {
    case 'orthogonal':
      return tidy(
        waypoints.length === 0
          ? shortestOrthogonal(source, target)
          : orthogonalThrough(source, target, waypoints),
      );
    case 'elbow-horizontal':
    case 'elbow-vertical':
      return tidy(elbow(style === 'elbow-vertical', source, target, waypoints[0]));
    case 'entity-relation':
      return entityRelation(source, target);
    case 'straight':
      return [
        leaving(source, waypoints[0] ?? target.fixed ?? centreOf(target.box)),
        ...waypoints,
        leaving(target, waypoints.at(-1) ?? source.fixed ?? centreOf(source.box)),
      ];
    default:
      return style satisfies never;
  }
}

/** Where an edge towards a point leaves the shape. */
export function leaving({ box, rotation, outline, fixed }: Terminal, towards: Point): Point {
  if (fixed !== null) return fixed;
  const centre = centreOf(box);
  const local = rotated(towards, -rotation, centre);
  const point =
    outline === 'ellipse'
      ? leavesEllipse(box, local)
      : (leavesPolygon(outline ?? corners(box), centre, local) ?? centre);
  return rotated(point, rotation, centre);
}

export function corners({ x, y, width, height }: Box): Point[] {
  return [
    { x, y },
    { x: x + width, y },
    { x: x + width, y: y + height },
    { x, y: y + height },
  ];
}

/** A point to leave from and the direction in which to. */
interface Port {
  readonly point: Point;
  readonly direction: Point;
}

const RIGHT = { x: 1, y: 0 };
const LEFT = { x: -1, y: 0 };
const DOWN = { x: 0, y: 1 };
const UP = { x: 0, y: -1 };

/** Of the ways with up to three bends between the sides of both, one that is short, has few bends and goes through neither. */
function shortestOrthogonal(source: Terminal, target: Terminal): Point[] {
  let best: { readonly way: Point[]; readonly cost: number } | null = null;
  for (const from of ports(source, target))
    for (const to of ports(target, source))
      for (const way of ways(from, to, source.box, target.box)) {
        const cost = costOf(way, source.box, target.box);
        if (best === null || cost < best.cost) best = { way, cost };
      }
  return best?.way ?? [centreOf(source.box), centreOf(target.box)];
}

function ports(terminal: Terminal, other: Terminal): Port[] {
  const { box, fixed } = terminal;
  if (fixed !== null) {
    const isPoint = box.width === 0 && box.height === 0;
    return isPoint
      ? [RIGHT, LEFT, DOWN, UP].map((direction) => ({ point: fixed, direction }))
      : [{ point: fixed, direction: sideOf(box, fixed) }];
  }
  const { x, y } = centreOf(box);
  const level = sharedMiddle(terminal, other, 'y', 'height');
  const plumb = sharedMiddle(terminal, other, 'x', 'width');
  return [RIGHT, LEFT, DOWN, UP].map((direction) => {
    const from = direction.x === 0 ? { x: plumb, y } : { x, y: level };
    return { point: leavingLevel(terminal, from, direction), direction };
  });
}

/** From a point within the box straight to its outline. */
function leavingLevel(terminal: Terminal, from: Point, direction: Point): Point {
  const { box, outline, rotation } = terminal;
  const { x, y } = centreOf(box);
  const far = { x: from.x + direction.x * 1e5, y: from.y + direction.y * 1e5 };
  if (outline === 'ellipse') {
    // Only the middle of an ellipse can be left without a look at its form.
    const [ax, ay] = [(from.x - x) / (box.width / 2 || 1), (from.y - y) / (box.height / 2 || 1)];
    return direction.x !== 0
      ? { x: x + direction.x * (box.width / 2) * Math.sqrt(Math.max(0, 1 - ay * ay)), y: from.y }
      : { x: from.x, y: y + direction.y * (box.height / 2) * Math.sqrt(Math.max(0, 1 - ax * ax)) };
  }
  const turned = (outline ?? corners(box)).map((point) => rotated(point, rotation, { x, y }));
  const { x: left, y: top } = leavesPolygon(turned, from, far) ?? from;
  // To the bit, so that level stays level.
  return direction.x === 0 ? { x: from.x, y: top } : { x: left, y: from.y };
}

/**
 * The middle of a side, or a place beside it from which a straight line reaches the other: boxes may be left and entered
 * anywhere, other shapes in their middle alone.
 */
function sharedMiddle(
  { box, outline }: Terminal,
  other: Terminal,
  axis: 'x' | 'y',
  length: 'width' | 'height',
): number {
  const middle = centreOf(box)[axis];
  if (outline !== null) return middle;
  const aim = other.fixed ?? (other.outline === null ? null : centreOf(other.box));
  const [start, end] = [
    Math.max(box[axis], aim?.[axis] ?? other.box[axis]),
    Math.min(box[axis] + box[length], aim?.[axis] ?? other.box[axis] + other.box[length]),
  ];
  return end >= start && (aim !== null || end > start) ? (start + end) / 2 : middle;
}

function sideOf({ x, y, width, height }: Box, point: Point): Point {
  const sides = [
    [point.x - x, LEFT],
    [x + width - point.x, RIGHT],
    [point.y - y, UP],
    [y + height - point.y, DOWN],
  ] as const;
  return sides.reduce((nearest, side) => (side[0] < nearest[0] ? side : nearest))[1];
}

function ways(from: Port, to: Port, a: Box, b: Box): Point[][] {
  const start = ahead(from, JETTY);
  const end = ahead(to, JETTY);
  const turns = (x: number, y: number) => [
    [
      { x, y: start.y },
      { x, y: end.y },
    ],
    [
      { x: start.x, y },
      { x: end.x, y },
    ],
  ];
  const around = [
    turns((start.x + end.x) / 2, (start.y + end.y) / 2),
    turns(Math.min(a.x, b.x) - JETTY, Math.min(a.y, b.y) - JETTY),
    turns(Math.max(a.x + a.width, b.x + b.width) + JETTY, Math.max(a.y + a.height, b.y + b.height) + JETTY),
  ].flat();
  const straight = from.point.x === to.point.x || from.point.y === to.point.y ? [[from.point, to.point]] : [];
  return [
    ...straight,
    ...[[{ x: end.x, y: start.y }], [{ x: start.x, y: end.y }], ...around].map((middle) =>
      tidy([from.point, start, ...middle, end, to.point]),
    ),
  ];
}

function ahead({ point, direction }: Port, by: number): Point {
  return { x: point.x + direction.x * by, y: point.y + direction.y * by };
}

function costOf(way: readonly Point[], a: Box, b: Box): number {
  let cost = lengthOf(way) + 40 * way.length;
  for (const [index, point] of way.entries()) {
    const before = way[index - 1];
    if (before === undefined) continue;
    if (entersBox(before, point, a) || entersBox(before, point, b)) cost += 10_000;
    const next = way[index + 1];
    if (next !== undefined && turnsBack(before, point, next)) cost += 10_000;
  }
  return cost;
}

function turnsBack(a: Point, b: Point, c: Point): boolean {
  return (b.x - a.x) * (c.x - b.x) < 0 || (b.y - a.y) * (c.y - b.y) < 0;
}

function orthogonalThrough(source: Terminal, target: Terminal, waypoints: readonly Point[]): Point[] {
  const [first, last] = [waypoints[0] ?? centreOf(target.box), waypoints.at(-1) ?? centreOf(source.box)];
  const way = [...towards(source, first), first];
  for (const point of waypoints.slice(1)) {
    const here = way.at(-1) ?? first;
    const before = way.at(-2) ?? here;
    const wasLevel = Math.abs(here.x - before.x) > Math.abs(here.y - before.y);
    if (here.x !== point.x && here.y !== point.y)
      way.push(wasLevel ? { x: here.x, y: point.y } : { x: point.x, y: here.y });
    way.push(point);
  }
  return [...way, ...towards(target, last).reverse()];
}

/** From a shape to a point before it has to turn there: where to leave, and the corner where there is one. */
function towards(terminal: Terminal, point: Point): Point[] {
  const { box, fixed } = terminal;
  if (fixed !== null) {
    const isPoint = box.width === 0 && box.height === 0;
    const { x } = isPoint
      ? { x: Math.abs(point.x - fixed.x) - Math.abs(point.y - fixed.y) }
      : sideOf(box, fixed);
    const level = isPoint ? x > 0 : x !== 0;
    return [fixed, level ? { x: point.x, y: fixed.y } : { x: fixed.x, y: point.y }];
  }
  const centre = centreOf(box);
  const horizontal = point.x < centre.x ? LEFT : RIGHT;
  const vertical = point.y < centre.y ? UP : DOWN;
  if (point.y >= box.y && point.y <= box.y + box.height)
    return [leavingLevel(terminal, { x: centre.x, y: point.y }, horizontal)];
  if (point.x >= box.x && point.x <= box.x + box.width)
    return [leavingLevel(terminal, { x: point.x, y: centre.y }, vertical)];
  const level = Math.abs(point.x - centre.x) > Math.abs(point.y - centre.y);
  return level
    ? [leavingLevel(terminal, centre, horizontal), { x: point.x, y: centre.y }]
    : [leavingLevel(terminal, centre, vertical), { x: centre.x, y: point.y }];
}

function elbow(vertical: boolean, source: Terminal, target: Terminal, through: Point | undefined): Point[] {
  const [a, b] = [source.fixed ?? centreOf(source.box), target.fixed ?? centreOf(target.box)];
  const middle = through ?? {
    x: (edgeTowards(source.box, b).x + edgeTowards(target.box, a).x) / 2,
    y: (edgeTowards(source.box, b).y + edgeTowards(target.box, a).y) / 2,
  };
  const turn = (from: Point) => (vertical ? { x: from.x, y: middle.y } : { x: middle.x, y: from.y });
  const end = (terminal: Terminal, from: Point) => {
    const to = turn(from);
    const direction = { x: Math.sign(to.x - from.x), y: Math.sign(to.y - from.y) };
    return (
      terminal.fixed ??
      leavingLevel(terminal, from, direction.x === 0 && direction.y === 0 ? RIGHT : direction)
    );
  };
  return [end(source, a), turn(a), turn(b), end(target, b)];
}

/** The side of a box that faces a point, as its x and y. */
function edgeTowards({ x, y, width, height }: Box, point: Point): Point {
  return {
    x: Math.max(x, Math.min(x + width, point.x)),
    y: Math.max(y, Math.min(y + height, point.y)),
  };
}

function entityRelation(source: Terminal, target: Terminal): Point[] {
  const goesRight = centreOf(source.box).x <= centreOf(target.box).x;
  const end = (terminal: Terminal, direction: Point): Port => {
    const { fixed, box } = terminal;
    if (fixed !== null) return { point: fixed, direction: box.width === 0 ? direction : sideOf(box, fixed) };
    return { point: leavingLevel(terminal, centreOf(box), direction), direction };
  };
  const [from, to] = [end(source, goesRight ? RIGHT : LEFT), end(target, goesRight ? LEFT : RIGHT)];
  return [from.point, ahead(from, ENTITY_JETTY), ahead(to, ENTITY_JETTY), to.point];
}

function loop({ x, y, width, height }: Box): Point[] {
  const [right, middle, out, half] = [x + width, y + height / 2, 30, Math.min(15, height / 3)];
  return [
    { x: right, y: middle - half },
    { x: right + out, y: middle - half },
    { x: right + out, y: middle + half },
    { x: right, y: middle + half },
  ];
}

/** Without points that lie on the line between their neighbours. */
function tidy(points: readonly Point[]): Point[] {
  const kept: Point[] = [];
  for (const point of points) {
    const [before, here] = [kept.at(-2), kept.at(-1)];
    if (here !== undefined && distance(here, point) < 0.01) continue;
    const onLine =
      before !== undefined &&
      here !== undefined &&
      ((before.x === here.x && here.x === point.x) || (before.y === here.y && here.y === point.y)) &&
      !turnsBack(before, here, point);
    if (onLine) kept.pop();
    kept.push(point);
  }
  return kept.length > 1 ? kept : [...points.slice(0, 1), ...points.slice(-1)];
}
