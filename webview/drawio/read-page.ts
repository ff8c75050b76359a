/** From the XML of a page (mxGraphModel) to the tree of its cells. */

import type { Point } from './geometry.ts';
import { parseStyle, type Style } from './style.ts';

export interface Geometry {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Position as a fraction of the parent's size, or along the parent edge. */
  readonly relative: boolean;
  readonly offset: Point | null;
  readonly sourcePoint: Point | null;
  readonly targetPoint: Point | null;
  readonly points: readonly Point[];
}

export interface Cell {
  readonly id: string;
  readonly kind: 'vertex' | 'edge' | 'layer';
  /** HTML where the style says `html=1`. */
  readonly label: string;
  readonly style: Style;
  readonly geometry: Geometry | null;
  readonly source: string | null;
  readonly target: string | null;
  readonly collapsed: boolean;
  /** In the order in which they are drawn. */
  readonly children: readonly Cell[];
}

/** More than anybody looks at in one picture. */
const MAX_CELLS = 5_000;

export interface Page {
  readonly root: Cell;
  /** Of every cell, hidden ones too. */
  readonly parentOf: ReadonlyMap<string, string | null>;
}

/** @throws with the reason when the XML is no page of draw.io */
export function readPage(xml: string): Page {
  // Its entities could grow without bound.
  if (/<!DOCTYPE|<!ENTITY/i.test(xml))
    throw new Error('it declares a document type, which draw.io never does');
  const parsed = new DOMParser().parseFromString(xml, 'application/xml');
  if (parsed.querySelector('parsererror') !== null) throw new Error('its XML is damaged');
  const root = parsed.querySelector('mxGraphModel > root');
  if (root === null) throw new Error('it holds no page of draw.io');
  const elements = [...root.querySelectorAll('mxCell')];
  if (elements.length > MAX_CELLS)
    throw new Error(`it has ${elements.length.toLocaleString('en-US')} cells, and at most 5,000 are drawn`);

  const rows = elements.map(rowOf);
  const childrenOf = new Map<string | null, Row[]>();
  for (const row of rows) {
    const siblings = childrenOf.get(row.parent);
    if (siblings === undefined) childrenOf.set(row.parent, [row]);
    else siblings.push(row);
  }
  const top = rows.find(({ parent }) => parent === null);
  if (top === undefined) throw new Error('it has no root cell');
  const seen = new Set<string>();
  const withChildren = ({ parent: _, visible: __, ...cell }: Row): Cell => {
    seen.add(cell.id);
    const children = (childrenOf.get(cell.id) ?? []).filter(({ id, visible }) => visible && !seen.has(id));
    return { ...cell, children: cell.collapsed ? [] : children.map(withChildren) };
  };
  return { root: withChildren(top), parentOf: new Map(rows.map(({ id, parent }) => [id, parent])) };
}

interface Row extends Omit<Cell, 'children'> {
  readonly parent: string | null;
  readonly visible: boolean;
}

/** A cell may be wrapped in an element that carries its id, label and further attributes. */
function rowOf(element: Element): Row {
  const wrapper = element.parentElement?.localName === 'root' ? null : element.parentElement;
  const attribute = (name: string) => element.getAttribute(name);
  const label = wrapper?.getAttribute('label') ?? attribute('value') ?? '';
  return {
    id: wrapper?.getAttribute('id') ?? attribute('id') ?? '',
    parent: attribute('parent'),
    kind: attribute('edge') === '1' ? 'edge' : attribute('vertex') === '1' ? 'vertex' : 'layer',
    label: wrapper?.getAttribute('placeholders') === '1' ? withPlaceholders(label, wrapper) : label,
    style: parseStyle(attribute('style') ?? ''),
    geometry: geometryOf(element),
    source: attribute('source'),
    target: attribute('target'),
    visible: attribute('visible') !== '0',
    collapsed: attribute('collapsed') === '1',
  };
}

function withPlaceholders(label: string, wrapper: Element): string {
  return label.replace(/%([\w.-]+)%/g, (whole, name: string) => wrapper.getAttribute(name) ?? whole);
}

function geometryOf(cell: Element): Geometry | null {
  const element = [...cell.children].find(({ localName }) => localName === 'mxGeometry');
  if (element === undefined) return null;
  const parts = [...element.children];
  const point = (role: string) => {
    const found = parts.find((part) => part.localName === 'mxPoint' && part.getAttribute('as') === role);
    return found === undefined ? null : pointOf(found);
  };
  const points = parts.find((part) => part.localName === 'Array' && part.getAttribute('as') === 'points');
  return {
    ...pointOf(element),
    width: Math.max(0, coordinate(element, 'width')),
    height: Math.max(0, coordinate(element, 'height')),
    relative: element.getAttribute('relative') === '1',
    offset: point('offset'),
    sourcePoint: point('sourcePoint'),
    targetPoint: point('targetPoint'),
    points: [...(points?.children ?? [])].map(pointOf),
  };
}

function pointOf(element: Element): Point {
  return { x: coordinate(element, 'x'), y: coordinate(element, 'y') };
}

/** Beyond this nothing could be seen any more. */
const MAX_COORDINATE = 1_000_000;

function coordinate(element: Element, name: string): number {
  const value = Number.parseFloat(element.getAttribute(name) ?? '');
  return Number.isFinite(value) ? Math.max(-MAX_COORDINATE, Math.min(MAX_COORDINATE, value)) : 0;
}
