/** SVG as text. Whatever comes from a file is escaped here and nowhere else. */

import type { Point } from './geometry.ts';

type Attributes = Readonly<Record<string, string | number | null | undefined>>;

/** Attributes that are null or undefined are left out. `content` is SVG already. */
export function element(name: string, attributes: Attributes, content = ''): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? short(value) : escaped(String(value))}"`)
    .join('');
  return content === '' ? `<${name}${written}/>` : `<${name}${written}>${content}</${name}>`;
}

export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/[\p{Cc}\uFFFE\uFFFF]/gu, ' ');
}

export function short(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** Path data through points; numbers and letters may stand between them: `path('M', a, 'L', b, 'Z')`. */
export function path(...parts: readonly (string | number | Point)[]): string {
  return parts
    .map((part) => {
      if (typeof part === 'string') return part;
      return typeof part === 'number' ? short(part) : `${short(part.x)} ${short(part.y)}`;
    })
    .join(' ');
}

export function polyline(points: readonly Point[], closed = false): string {
  const lines = points.flatMap((point, index) => [index === 0 ? 'M' : 'L', point]);
  return path(...lines, ...(closed ? ['Z'] : []));
}
