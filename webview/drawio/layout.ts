/** Where each cell of a page stands: vertices in their boxes, edges on their ways. */

import { type Box, centreOf, distance, type Point, pointAlong, rotated } from './geometry.ts';
import { directionOf, edgeStyleOf } from './looks.ts';
import type { Cell, Page } from './read-page.ts';
import { leaving, route, type Terminal } from './route.ts';
import { boxShape, type Shape, shapeOf } from './shapes.ts';
import { isOn, numberOf, type Style } from './style.ts';

/** A vertex in its place. */
export interface Placed extends Terminal {
  readonly cell: Cell;
  readonly shape: Shape;
  /** Null where we have a drawing of its own for the shape. */
  readonly unknownShape: string | null;
  /** Of the shape's own box to the page. */
  readonly transform: string;
}

interface PlacedEdge {
  readonly cell: Cell;
  readonly origin: Point;
}

export class PageLayout {
  readonly #vertices = new Map<string, Placed>();
  readonly #edges = new Map<string, PlacedEdge>();
  /** Of edges, once they are known; null while one is being found, as edges may end at edges. */
  readonly #ways = new Map<string, readonly Point[] | null>();
  readonly #parentOf: ReadonlyMap<string, string | null>;

  constructor({ root, parentOf }: Page) {
    this.#parentOf = parentOf;
    this.#place(root, { x: 0, y: 0 }, null);
    for (const id of this.#edges.keys()) this.#wayOf(id);
  }

  /** By the ids of their cells. */
  get vertices(): ReadonlyMap<string, Placed> {
    return this.#vertices;
  }

  /** Of edges by the ids of their cells; null for one that begins or ends nowhere. */
  get ways(): ReadonlyMap<string, readonly Point[] | null> {
    return this.#ways;
  }

  #place(cell: Cell, origin: Point, parent: Box | null): void {
    let inside: Point = origin;
    let box: Box | null = null;
    if (cell.kind === 'edge') {
      this.#edges.set(cell.id, { cell, origin });
      // Its labels are placed once its way is known.
      return;
    }
    if (cell.kind === 'vertex' && cell.geometry !== null) {
      const { x, y, width, height, relative, offset } = cell.geometry;
      const [dx, dy] = relative && parent !== null ? [x * parent.width, y * parent.height] : [x, y];
      box = { x: origin.x + dx + (offset?.x ?? 0), y: origin.y + dy + (offset?.y ?? 0), width, height };
      this.#placeVertex(cell, box);
      inside = box;
    }
    for (const child of cell.children) this.#place(child, inside, box);
  }

  #placeVertex(cell: Cell, box: Box): void {
    const { style } = cell;
    const [turn, swapped] = directionOf(style);
    const [width, height] = swapped ? [box.height, box.width] : [box.width, box.height];
    const name = style.get('shape') ?? 'rectangle';
    const known = name === 'image' ? boxShape(width, height, style) : shapeOf(name, width, height, style);
    const shape = known ?? boxShape(width, height, style);
    const centre = centreOf(box);
    const [flipX, flipY] = [isOn(style, 'flipH') ? -1 : 1, isOn(style, 'flipV') ? -1 : 1];
    const toPage = ({ x, y }: Point): Point =>
      rotated(
        { x: centre.x + (x - width / 2) * flipX, y: centre.y + (y - height / 2) * flipY },
        turn,
        centre,
      );
    const rotation = numberOf(style, 'rotation', 0);
    this.#vertices.set(cell.id, {
      cell,
      box,
      shape,
      rotation,
      unknownShape: known === null ? name : null,
      outline: shape.outline === 'ellipse' ? 'ellipse' : (shape.outline?.map(toPage) ?? null),
      fixed: null,
      transform: `translate(${centre.x} ${centre.y}) rotate(${rotation + turn}) scale(${flipX} ${flipY}) translate(${-width / 2} ${-height / 2})`,
    });
  }

  /** Null for an edge that ends nowhere. */
  #wayOf(id: string): readonly Point[] | null {
    const known = this.#ways.get(id);
    const edge = this.#edges.get(id);
    if (known !== undefined || edge === undefined) return known ?? null;
    this.#ways.set(id, null);
    const { cell, origin } = edge;
    const { style, geometry } = cell;
    const onPage = ({ x, y }: Point): Point => ({ x: origin.x + x, y: origin.y + y });
    const waypoints = (geometry?.points ?? []).map(onPage);
    const [sourceId, targetId] = [this.#shown(cell.source), this.#shown(cell.target)];
    const free = (point: Point | null | undefined) => (point ? pointTerminal(onPage(point)) : null);
    const source = this.#terminal(sourceId, style, 'exit') ?? free(geometry?.sourcePoint);
    const target = this.#terminal(targetId, style, 'entry') ?? free(geometry?.targetPoint);
    if (source === null || target === null) return null;
    const isLoop = sourceId !== null && sourceId === targetId;
    const way = route(edgeStyleOf(style), source, target, waypoints, isLoop);
    this.#ways.set(id, way);
    for (const child of cell.children) this.#placeOnEdge(child, way);
    return way;
  }

  #placeOnEdge(cell: Cell, way: readonly Point[]): void {
    const { geometry } = cell;
    if (cell.kind !== 'vertex' || geometry === null) return;
    const { x, y } = onWay(way, geometry.relative ? geometry.x : 0, geometry.relative ? geometry.y : 0);
    const offset = geometry.offset ?? { x: 0, y: 0 };
    const { width, height } = geometry;
    this.#placeVertex(cell, { x: x + offset.x, y: y + offset.y, width, height });
  }

  /** The cell itself, or the nearest one around it that is shown. */
  #shown(id: string | null): string | null {
    let at = id;
    for (let steps = 0; at !== null && steps < 1_000; steps++) {
      if (this.#vertices.has(at) || this.#edges.has(at)) return at;
      at = this.#parentOf.get(at) ?? null;
    }
    return null;
  }

  #terminal(id: string | null, style: Style, end: 'exit' | 'entry'): Terminal | null {
    if (id === null) return null;
    const vertex = this.#vertices.get(id);
    if (vertex === undefined) {
      const way = this.#wayOf(id);
      return way === null ? null : pointTerminal(pointAlong(way, 0.5).point);
    }
    if (!style.has(`${end}X`) || !style.has(`${end}Y`)) return vertex;
    const { box, rotation } = vertex;
    const tied = {
      x: box.x + box.width * numberOf(style, `${end}X`, 0) + numberOf(style, `${end}Dx`, 0),
      y: box.y + box.height * numberOf(style, `${end}Y`, 0) + numberOf(style, `${end}Dy`, 0),
    };
    const onOutline = isOn(style, `${end}Perimeter`, true) && distance(tied, centreOf(box)) > 0.01;
    const turned = rotated(tied, rotation, centreOf(box));
    return { ...vertex, fixed: onOutline ? leaving(vertex, turned) : turned };
  }
}

function pointTerminal({ x, y }: Point): Terminal {
  return { box: { x, y, width: 0, height: 0 }, rotation: 0, outline: null, fixed: { x, y } };
}

/** A place on an edge as mxGraph gives it: along from -1 to 1, and so many pixels to its side. */
export function onWay(way: readonly Point[], along: number, aside: number): Point {
  const { point, direction } = pointAlong(way, (along + 1) / 2);
  return { x: point.x + direction.y * aside, y: point.y - direction.x * aside };
}
