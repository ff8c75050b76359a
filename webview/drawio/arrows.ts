/** What stands at the ends of an edge. Sizes and forms are mxGraph's (mxMarker.js) and draw.io's (Shapes.js). */

import type { Point } from './geometry.ts';
import { path, polyline } from './svg.ts';

export interface Arrow {
  /** Path data. */
  readonly body: string;
  readonly filled: boolean;
  /** By how much the line ends before the tip, so that it does not show within. */
  readonly inset: number;
}

/**
 * `direction` has length 1 and points at the tip. `filled`: as the style has it.
 * Null for none, and for kinds that we do not know.
 */
export function arrowAt(
  kind: string,
  tip: Point,
  direction: Point,
  {
    size,
    strokeWidth,
    filled,
  }: { readonly size: number; readonly strokeWidth: number; readonly filled: boolean },
): Arrow | null {
  const length = size + strokeWidth;
  /** Behind the tip by so many lengths, and to its side. */
  const at = (back: number, side = 0): Point => ({
    x: tip.x - direction.x * length * back - direction.y * length * side,
    y: tip.y - direction.y * length * back + direction.x * length * side,
  });
  const thin = kind.endsWith('Thin') ? 1 / 3 : 1 / 2;
  switch (kind.replace(/Thin$/, '')) {
    case 'classic':
      return {
        body: polyline([at(0), at(1, thin), at(0.75), at(1, -thin)], true),
        filled,
        inset: length * 0.75,
      };
    case 'block':
      return { body: polyline([at(0), at(1, thin), at(1, -thin)], true), filled, inset: length };
    case 'async':
      return { body: polyline([at(0), at(1, 0.5), at(1)], true), filled, inset: length };
    case 'open':
      return { body: polyline([at(1, thin), at(0), at(1, -thin)]), filled: false, inset: 0 };
    case 'openAsync':
      return { body: polyline([at(1, 0.5), at(0)]), filled: false, inset: 0 };
    case 'diamond': {
      const side = thin === 1 / 2 ? 1 / 2 : 0.3;
      return { body: polyline([at(0), at(0.5, side), at(1), at(0.5, -side)], true), filled, inset: length };
    }
    case 'oval':
      return { body: circle(at(0), length / 2), filled, inset: 0 };
    case 'circle':
      return { body: circle(at(0.5), length / 2), filled, inset: length };
    case 'box':
      return {
        body: polyline([at(0, 0.5), at(0, -0.5), at(1, -0.5), at(1, 0.5)], true),
        filled,
        inset: length,
      };
    case 'dash':
      return { body: polyline([at(1, 0.5), at(0, -0.5)]), filled: false, inset: 0 };
    case 'cross':
      return {
        body: `${polyline([at(1, 0.5), at(0, -0.5)])} ${polyline([at(1, -0.5), at(0, 0.5)])}`,
        filled: false,
        inset: 0,
      };
    case 'ERone':
      return { body: polyline([at(0.5, 0.5), at(0.5, -0.5)]), filled: false, inset: 0 };
    case 'ERmandOne':
      return {
        body: `${polyline([at(0.5, 0.5), at(0.5, -0.5)])} ${polyline([at(1, 0.5), at(1, -0.5)])}`,
        filled: false,
        inset: 0,
      };
    case 'ERmany':
      return { body: polyline([at(0, 0.5), at(1), at(0, -0.5)]), filled: false, inset: 0 };
    case 'ERoneToMany':
      return {
        body: `${polyline([at(0, 0.5), at(1), at(0, -0.5)])} ${polyline([at(1, 0.5), at(1, -0.5)])}`,
        filled: false,
        inset: 0,
      };
    case 'ERzeroToMany':
      return {
        body: `${circle(at(1.5), length / 2)} ${polyline([at(0, 0.5), at(1), at(0, -0.5)])}`,
        filled: false,
        inset: 0,
      };
    case 'ERzeroToOne':
      return {
        body: `${circle(at(1.5), length / 2)} ${polyline([at(0.5, 0.5), at(0.5, -0.5)])}`,
        filled: false,
        inset: 0,
      };
    default:
      return null;
  }
}

function circle({ x, y }: Point, radius: number): string {
  const arc = (to: Point) => path('A', radius, radius, 0, 0, 1, to);
  return path('M', { x: x - radius, y }, arc({ x: x + radius, y }), arc({ x: x - radius, y }), 'Z');
}
