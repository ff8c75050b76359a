/** From a label, plain or HTML, to lines that fit a width. No HTML of it reaches the picture. */

import { plainColour } from './style.ts';
import { element, escaped } from './svg.ts';

/** How a piece of text looks. */
export interface TextLook {
  readonly size: number;
  readonly colour: string;
  readonly bold: boolean;
  readonly italic: boolean;
  readonly underlined: boolean;
}

interface Run extends TextLook {
  readonly text: string;
}

export interface LaidOutText {
  readonly lines: readonly (readonly Run[])[];
  readonly width: number;
  readonly height: number;
}

const FONT = 'Helvetica, Arial, sans-serif';
const LINE_HEIGHT = 1.2;

/** `width`: lines are broken to fit it; null leaves them as they are. */
export function layOut(label: string, isHtml: boolean, look: TextLook, width: number | null): LaidOutText {
  const written = isHtml ? htmlLines(label, look) : label.split('\n').map((text) => [{ ...look, text }]);
  while (written.length > 0 && isBlank(written.at(-1))) written.pop();
  while (written.length > 0 && isBlank(written[0])) written.shift();
  const lines = width === null ? written : written.flatMap((line) => broken(line, width));
  return {
    lines,
    width: Math.max(0, ...lines.map(widthOf)),
    height: lines.reduce((sum, line) => sum + heightOf(line, look), 0),
  };
}

/** `x` is where the lines start, have their middle or end; `y` is the top. */
export function textElement(
  text: LaidOutText,
  look: TextLook,
  x: number,
  y: number,
  anchor: 'start' | 'middle' | 'end',
): string {
  let top = y;
  return text.lines
    .map((line) => {
      const height = heightOf(line, look);
      const size = height / LINE_HEIGHT;
      const baseline = top + height / 2 + size * 0.35;
      top += height;
      return element(
        'text',
        { x, y: baseline, 'text-anchor': anchor, 'font-family': FONT, 'xml:space': 'preserve' },
        line.map(span).join(''),
      );
    })
    .join('');
}

function span(run: Run): string {
  return element(
    'tspan',
    {
      'font-size': run.size,
      fill: run.colour,
      'font-weight': run.bold ? 'bold' : null,
      'font-style': run.italic ? 'italic' : null,
      'text-decoration': run.underlined ? 'underline' : null,
    },
    escaped(run.text),
  );
}

function isBlank(line: readonly Run[] | undefined): boolean {
  return line?.every(({ text }) => text.trim() === '') ?? false;
}

function heightOf(line: readonly Run[], look: TextLook): number {
  return LINE_HEIGHT * (line.length === 0 ? look.size : Math.max(...line.map(({ size }) => size)));
}

const canvas = new OffscreenCanvas(1, 1).getContext('2d');

function widthOf(line: readonly Run[]): number {
  return line.reduce((sum, run) => sum + measured(run.text, run), 0);
}

function measured(text: string, { size, bold, italic }: TextLook): number {
  if (canvas === null) return text.length * size * 0.55;
  canvas.font = `${italic ? 'italic ' : ''}${bold ? 'bold ' : ''}${size}px ${FONT}`;
  return canvas.measureText(text).width;
}

/** A line broken between words; a word that is wider than the width stays whole, as in draw.io. */
function broken(line: readonly Run[], width: number): Run[][] {
  const lines: Run[][] = [[]];
  let used = 0;
  for (const run of line)
    for (const piece of run.text.match(/\s+|\S+/g) ?? []) {
      const length = measured(piece, run);
      const blank = piece.trim() === '';
      if (used > 0 && used + length > width && !blank) {
        lines.push([]);
        used = 0;
      }
      if (blank && used === 0 && lines.length > 1) continue;
      lines.at(-1)?.push({ ...run, text: piece });
      used += length;
    }
  return lines;
}

const BLOCKS = new Set([
  'div',
  'p',
  'h1',
  'h2',
  'h3',
  'h4',
  'h5',
  'h6',
  'ul',
  'ol',
  'li',
  'tr',
  'table',
  'hr',
  'pre',
]);
const HEADING_SIZES: Readonly<Record<string, number>> = { h1: 2, h2: 1.5, h3: 1.17 };

/** The text of HTML in a document that runs nothing and loads nothing. */
function htmlLines(label: string, look: TextLook): Run[][] {
  const parsed = new DOMParser().parseFromString(label, 'text/html');
  const lines: Run[][] = [[]];
  const breakLine = () => void (isEmpty(lines.at(-1)) || lines.push([]));
  const walk = (node: Node, inherited: TextLook) => {
    if (node.nodeType === Node.TEXT_NODE) {
      const text = (node.textContent ?? '').replace(/[ \t\r\n]+/g, ' ');
      const fresh = isEmpty(lines.at(-1));
      if (text !== '' && !(fresh && text === ' '))
        lines.at(-1)?.push({ ...inherited, text: fresh ? text.trimStart() : text });
      return;
    }
    if (!(node instanceof Element)) return;
    const name = node.localName;
    if (name === 'script' || name === 'style') return;
    if (name === 'br') return void lines.push([]);
    if (BLOCKS.has(name)) breakLine();
    const own = lookOf(node, inherited);
    if (name === 'li') lines.at(-1)?.push({ ...own, text: '• ' });
    for (const child of node.childNodes) walk(child, own);
    if (name === 'td' || name === 'th') lines.at(-1)?.push({ ...own, text: '  ' });
    if (BLOCKS.has(name)) breakLine();
  };
  walk(parsed.body, look);
  return lines;
}

function isEmpty(line: readonly Run[] | undefined): boolean {
  return line === undefined || line.length === 0;
}

function lookOf(node: Element, inherited: TextLook): TextLook {
  const css = node.getAttribute('style') ?? '';
  const property = (name: string) =>
    new RegExp(`(?:^|;)\\s*${name}\\s*:\\s*([^;]+)`, 'i').exec(css)?.[1]?.trim();
  const name = node.localName;
  const weight = property('font-weight');
  const size = sizeOf(property('font-size'), inherited.size) ?? inherited.size * (HEADING_SIZES[name] ?? 1);
  const colour = property('color') ?? node.getAttribute('color');
  return {
    size,
    colour: (colour && plainColour(colour, inherited.colour)) || inherited.colour,
    bold:
      weight === undefined
        ? inherited.bold || /^(?:b|strong|h[1-6]|th)$/.test(name)
        : /bold|[6-9]00/.test(weight),
    italic: inherited.italic || name === 'i' || name === 'em' || property('font-style') === 'italic',
    underlined: inherited.underlined || name === 'u' || /underline/.test(property('text-decoration') ?? ''),
  };
}

function sizeOf(value: string | undefined, inherited: number): number | null {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(px|pt|em|%)?$/i.exec(value ?? '') ?? [];
  if (digits === undefined) return null;
  const factors: Readonly<Record<string, number>> = { pt: 4 / 3, em: inherited, '%': inherited / 100 };
  return Math.max(1, Math.min(500, Number(digits) * (factors[unit?.toLowerCase() ?? ''] ?? 1)));
}
