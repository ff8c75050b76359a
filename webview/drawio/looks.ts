/** What a cell's style says about lines, texts and pictures. */

import type { TextLook } from './label.ts';
import type { EdgeStyle } from './route.ts';
import { colourOf, isOn, numberOf, type Style } from './style.ts';

/** By how much a shape is turned, and whether its width and height change places. */
export function directionOf(style: Style): [degrees: number, swapped: boolean] {
  switch (style.get('direction')) {
    case 'north':
      return [-90, true];
    case 'south':
      return [90, true];
    case 'west':
      return [180, false];
    default:
      return [0, false];
  }
}

export function edgeStyleOf(style: Style): EdgeStyle {
  if (isOn(style, 'noEdgeStyle')) return 'straight';
  switch (style.get('edgeStyle')) {
    case 'orthogonalEdgeStyle':
    case 'segmentEdgeStyle':
    case 'sideToSideEdgeStyle':
    case 'topToBottomEdgeStyle':
      return 'orthogonal';
    case 'elbowEdgeStyle':
      return style.get('elbow') === 'vertical' ? 'elbow-vertical' : 'elbow-horizontal';
    case 'entityRelationEdgeStyle':
      return 'entity-relation';
    default:
      return 'straight';
  }
}

export function lookOf(style: Style, size: number): TextLook {
  const bits = numberOf(style, 'fontStyle', 0);
  return {
    size: Math.max(1, Math.min(500, numberOf(style, 'fontSize', size))),
    colour: colourOf(style, 'fontColor', '#000000') ?? '#000000',
    bold: (bits & 1) !== 0,
    italic: (bits & 2) !== 0,
    underlined: (bits & 4) !== 0,
  };
}

export function strokeOf(style: Style, otherwise: string | null) {
  const width = numberOf(style, 'strokeWidth', 1);
  const pattern = (style.get('dashPattern') ?? '3 3').split(/[\s,]+/).map(Number);
  const dashes = pattern.every((length) => length >= 0 && length < 1_000)
    ? pattern.map((length) => length * (isOn(style, 'fixDash') ? 1 : width)).join(' ')
    : '3 3';
  return {
    stroke: colourOf(style, 'strokeColor', otherwise) ?? 'none',
    'stroke-width': width,
    'stroke-dasharray': isOn(style, 'dashed') ? dashes : null,
    'stroke-miterlimit': 10,
  };
}

export function opacityOf(style: Style): number | null {
  const opacity = numberOf(style, 'opacity', 100) / 100;
  return opacity < 1 ? Math.max(0, opacity) : null;
}

/** By how much a label stands beside its shape. */
export function shiftOf(style: Style, key: string, size: number): number {
  const position = style.get(key);
  if (position === 'left' || position === 'top') return -size;
  return position === 'right' || position === 'bottom' ? size : 0;
}

/** "lambda", of `mxgraph.aws4.lambda` or of what a general shape of a palette shows. */
export function kindOf(style: Style, shape: string): string {
  const icon = style.get('resIcon') ?? style.get('grIcon') ?? style.get('prIcon') ?? shape;
  if (icon.startsWith('stencil(')) return 'own stencil';
  return icon
    .slice(icon.lastIndexOf('.') + 1)
    .replaceAll('_', ' ')
    .slice(0, 40);
}

/** draw.io leaves out `;base64`, as a semicolon would end the entry of the style. */
export function embedded(value: string | undefined): string | null {
  const [, type, data] =
    /^data:(image\/(?:png|jpeg|gif|webp|svg\+xml)),([A-Za-z0-9+/=]+)$/.exec(value ?? '') ?? [];
  return type === undefined ? null : `data:${type};base64,${data}`;
}
