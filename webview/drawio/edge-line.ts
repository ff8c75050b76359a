/** The line of an edge as path data. */

import { between, distance, type Point } from './geometry.ts';
import { path } from './svg.ts';

export function shortened(way: readonly Point[], atStart: number, atEnd: number): Point[] {
  const line = [...way];
  const cut = (tip: number, next: number, by: number) => {
    const [a, b] = [line[tip], line[next]];
    if (by > 0 && a !== undefined && b !== undefined)
      line[tip] = between(a, b, Math.min(0.9, by / (distance(a, b) || 1)));
  };
  cut(0, 1, atStart);
  cut(line.length - 1, line.length - 2, atEnd);
  return line;
}

export function roundedLine(points: readonly Point[], radius: number): string {
  const parts = points.flatMap((point, index) => {
    const [before, next] = [points[index - 1], points[index + 1]];
    if (before === undefined) return ['M', point];
    if (next === undefined || radius <= 0) return ['L', point];
    const [back, on] = [distance(point, before), distance(point, next)];
    const start = between(point, before, Math.min(0.5, radius / (back || 1)));
    return ['L', start, 'Q', point, between(point, next, Math.min(0.5, radius / (on || 1)))];
  });
  return path(...parts);
}

/** Through the middles between the points, as mxGraph draws its curves. */
export function curve(points: readonly Point[]): string {
  const [first, ...rest] = points;
  if (first === undefined) return '';
  const parts = rest.flatMap((point, index) => {
    const next = rest[index + 1];
    if (next === undefined) return rest.length === 1 ? ['L', point] : [];
    return ['Q', point, index === rest.length - 2 ? next : between(point, next, 0.5)];
  });
  return path('M', first, ...parts);
}
