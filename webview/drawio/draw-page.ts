/** A page of draw.io as SVG. */

import type { Drawing } from '../draw-diagram.ts';
import { arrowAt } from './arrows.ts';
import { curve, roundedLine, shortened } from './edge-line.ts';
import { type Box, centreOf, distance, type Point, rotated } from './geometry.ts';
import { type LaidOutText, layOut, type TextLook, textElement } from './label.ts';
import { onWay, PageLayout, type Placed } from './layout.ts';
import { embedded, kindOf, lookOf, opacityOf, shiftOf, strokeOf } from './looks.ts';
import { type Cell, type Page, readPage } from './read-page.ts';
import { corners } from './route.ts';
import { titleSize } from './shapes.ts';
import { colourOf, isOn, numberOf } from './style.ts';
import { element, path } from './svg.ts';

const MARGIN = 10;

/** @throws with the reason when the XML is no page of draw.io, or an empty one */
export function drawPage(xml: string): Drawing {
  return new PageDrawing(readPage(xml)).finished();
}

class PageDrawing {
  readonly #layout: PageLayout;
  readonly #simplified = new Map<string, number>();
  #missingPictures = 0;
  #drawn: string[] = [];
  #bounds: { left: number; top: number; right: number; bottom: number } | null = null;

  constructor(page: Page) {
    this.#layout = new PageLayout(page);
    this.#draw(page.root);
  }

  finished(): Drawing {
    if (this.#bounds === null) throw new Error('the page is empty');
    const { left, top, right, bottom } = this.#bounds;
    const [x, y, width, height] = [
      left - MARGIN,
      top - MARGIN,
      right - left + 2 * MARGIN,
      bottom - top + 2 * MARGIN,
    ];
    const paper = element('rect', { x, y, width, height, fill: '#ffffff' });
    const svg = element(
      'svg',
      { xmlns: 'http://www.w3.org/2000/svg', width, height, viewBox: `${x} ${y} ${width} ${height}` },
      paper + this.#drawn.join(''),
    );
    return { svg, notes: this.#notes() };
  }

  #notes(): string[] {
    const names = [...this.#simplified.keys()];
    const shapes = [...this.#simplified.values()].reduce((sum, count) => sum + count, 0);
    const others = names.length > 4 ? ` and ${names.length - 4} other kinds` : '';
    const simplified = `${shapes === 1 ? '1 shape is' : `${shapes} shapes are`} drawn in a plain form: ${names.slice(0, 4).join(', ')}${others}.`;
    const missing = `${this.#missingPictures === 1 ? '1 picture' : `${this.#missingPictures} pictures`} of the diagram cannot be shown.`;
    return [...(shapes > 0 ? [simplified] : []), ...(this.#missingPictures > 0 ? [missing] : [])];
  }

  #draw(cell: Cell): void {
    if (cell.kind === 'edge') this.#drawEdge(cell);
    const vertex = this.#layout.vertices.get(cell.id);
    if (vertex !== undefined) this.#drawVertex(vertex);
    for (const child of cell.children) this.#draw(child);
    if (vertex !== undefined && cell.style.get('shape') === 'table') this.#drawTableLines(vertex);
  }

  #drawVertex(vertex: Placed): void {
    const { cell, shape, box, transform, unknownShape } = vertex;
    const { style } = cell;
    const name = style.get('shape') ?? 'rectangle';
    const fill = colourOf(
      style,
      name.startsWith('swim') || name === 'table' ? 'swimlaneFillColor' : 'fillColor',
      null,
    );
    const opacity = opacityOf(style);
    if (name === 'image') this.#drawImage(vertex);
    else {
      const isLane = name === 'swimlane' || name === 'table';
      const bodyFill = colourOf(style, 'fillColor', isText(name) ? null : '#ffffff');
      const stroke = strokeOf(style, isText(name) ? null : '#000000');
      const parts = [
        isLane && fill !== null ? element('path', { d: shape.lines, fill, stroke: 'none' }) : '',
        shape.fill ? element('path', { d: shape.fill, fill: bodyFill ?? 'none', stroke: 'none' }) : '',
        shape.body ? element('path', { d: shape.body, fill: bodyFill ?? 'none', ...stroke }) : '',
        shape.lines ? element('path', { d: shape.lines, fill: 'none', ...stroke }) : '',
      ];
      if (parts.some((part) => part !== '')) this.#add(element('g', { transform, opacity }, parts.join('')));
      if (name === 'label') this.#drawImage(vertex);
    }
    this.#cover(boundsOf(box, vertex.rotation));
    if (unknownShape !== null) this.#drawUnknown(vertex, unknownShape);
    this.#drawVertexLabel(vertex);
  }

  /** A box is drawn already; what it stands for is written into it where its label does not stand. */
  #drawUnknown({ cell, box }: Placed, shape: string): void {
    const { style } = cell;
    const kind = kindOf(style, shape);
    this.#simplified.set(kind, (this.#simplified.get(kind) ?? 0) + 1);
    const outside = style.has('verticalLabelPosition') && style.get('verticalLabelPosition') !== 'middle';
    if (cell.label !== '' && !outside) return;
    const look = { size: 10, colour: '#333333', bold: false, italic: true, underlined: false };
    const text = layOut(kind, false, look, Math.max(20, box.width - 4));
    const { x, y } = centreOf(box);
    const at = { x, y: y - text.height / 2, anchor: 'middle', background: '#ffffff' } as const;
    this.#addText(text, look, at, 0, at);
  }

  #drawImage({ cell, box }: Placed): void {
    const { style } = cell;
    const value = style.get('image');
    const href = embedded(value);
    const isLabel = style.get('shape') === 'label';
    const [width, height] = isLabel
      ? [numberOf(style, 'imageWidth', 42), numberOf(style, 'imageHeight', 42)]
      : [box.width, box.height];
    const [x, y] = isLabel ? [box.x + 8, box.y + (box.height - height) / 2] : [box.x, box.y];
    if (href !== null) {
      const aspect = isOn(style, 'imageAspect', true) ? null : 'none';
      this.#add(element('image', { x, y, width, height, href, preserveAspectRatio: aspect }));
      return;
    }
    if (value === undefined && isLabel) return;
    this.#missingPictures++;
    if (!isLabel)
      this.#add(
        element('rect', {
          x,
          y,
          width,
          height,
          fill: '#f5f5f5',
          stroke: '#999999',
          'stroke-dasharray': '4 3',
        }),
      );
  }

  #drawTableLines({ cell, box }: Placed): void {
    const { style } = cell;
    const rows = cell.children.flatMap((row) => this.#layout.vertices.get(row.id) ?? []);
    const columns =
      rows[0]?.cell.children.flatMap((column) => this.#layout.vertices.get(column.id) ?? []) ?? [];
    const parts = [
      ...(isOn(style, 'rowLines', true) ? rows.slice(1) : []).flatMap((row) => [
        ...['M', { x: box.x, y: row.box.y }, 'L', { x: box.x + box.width, y: row.box.y }],
      ]),
      ...(isOn(style, 'columnLines', true) ? columns.slice(1) : []).flatMap((column) => [
        ...[
          'M',
          { x: column.box.x, y: rows[0]?.box.y ?? box.y },
          'L',
          { x: column.box.x, y: box.y + box.height },
        ],
      ]),
    ];
    if (parts.length > 0)
      this.#add(element('path', { d: path(...parts), fill: 'none', ...strokeOf(style, '#000000') }));
  }

  #drawVertexLabel({ cell, box, rotation }: Placed): void {
    const { style, label } = cell;
    if (label === '' || isOn(style, 'noLabel')) return;
    const upright = isOn(style, 'horizontal', true);
    let area = box;
    const shape = style.get('shape');
    if (shape === 'swimlane' || shape === 'table') {
      const title = titleSize(style, box.width, box.height);
      area = upright ? { ...box, height: title } : { ...box, width: title };
    }
    area = {
      ...area,
      x: area.x + shiftOf(style, 'labelPosition', area.width),
      y: area.y + shiftOf(style, 'verticalLabelPosition', area.height),
    };
    const centre = centreOf(area);
    if (!upright)
      area = {
        x: centre.x - area.height / 2,
        y: centre.y - area.width / 2,
        width: area.height,
        height: area.width,
      };

    const look = lookOf(style, 12);
    const spacing = numberOf(style, 'spacing', 2);
    const side = (name: string) => spacing + numberOf(style, `spacing${name}`, 0);
    const wraps = style.get('whiteSpace') === 'wrap' && area.width > 0;
    const text = layOut(
      label,
      isOn(style, 'html'),
      look,
      wraps ? Math.max(10, area.width - 2 * spacing) : null,
    );
    const align = style.get('align') ?? 'center';
    const [anchor, x] =
      align === 'left'
        ? (['start', area.x + side('Left')] as const)
        : align === 'right'
          ? (['end', area.x + area.width - side('Right')] as const)
          : (['middle', area.x + area.width / 2 + (side('Left') - side('Right')) / 2] as const);
    const vertical = style.get('verticalAlign') ?? 'middle';
    const y =
      vertical === 'top'
        ? area.y + side('Top')
        : vertical === 'bottom'
          ? area.y + area.height - side('Bottom') - text.height
          : area.y + (area.height - text.height + side('Top') - side('Bottom')) / 2;
    const turn = rotation + (upright ? 0 : -90);
    const around = upright ? centreOf(box) : centre;
    this.#addText(
      text,
      look,
      { x, y, anchor, background: colourOf(style, 'labelBackgroundColor', null) },
      turn,
      around,
    );
  }

  #drawEdge(cell: Cell): void {
    const way = this.#layout.ways.get(cell.id);
    if (!way) return;
    const { style } = cell;
    const strokeWidth = numberOf(style, 'strokeWidth', 1);
    const stroke = strokeOf(style, '#000000');
    const kind = style.get('shape');
    if (kind !== undefined && kind !== 'connector')
      this.#simplified.set(kindOf(style, kind), (this.#simplified.get(kindOf(style, kind)) ?? 0) + 1);
    const end = (which: 'start' | 'end', tip: Point | undefined, before: Point | undefined) => {
      if (tip === undefined || before === undefined) return null;
      const length = distance(before, tip) || 1;
      const direction = { x: (tip.x - before.x) / length, y: (tip.y - before.y) / length };
      const name = style.get(`${which}Arrow`) ?? (which === 'end' ? 'classic' : 'none');
      return arrowAt(name, tip, direction, {
        size: numberOf(style, `${which}Size`, 6),
        strokeWidth,
        filled: isOn(style, `${which}Fill`, true),
      });
    };
    const [start, stop] = [end('start', way[0], way[1]), end('end', way.at(-1), way.at(-2))];
    const line = shortened(way, start?.inset ?? 0, stop?.inset ?? 0);
    const isCurved = isOn(style, 'curved');
    const d = isCurved
      ? curve(line)
      : roundedLine(line, isOn(style, 'rounded') ? numberOf(style, 'arcSize', 20) / 2 : 0);
    const opacity = opacityOf(style);
    const colour = stroke.stroke;
    const heads = [start, stop].map((arrow) =>
      arrow === null
        ? ''
        : element('path', {
            d: arrow.body,
            fill: arrow.filled ? colour : arrow.inset > 0 ? '#ffffff' : 'none',
            stroke: colour,
            'stroke-width': strokeWidth,
            'stroke-linejoin': 'miter',
          }),
    );
    this.#add(element('g', { opacity }, element('path', { d, fill: 'none', ...stroke }) + heads.join('')));
    for (const { x, y } of way) this.#cover({ x: x - 5, y: y - 5, width: 10, height: 10 });
    this.#drawEdgeLabel(cell, way);
  }

  #drawEdgeLabel({ style, label, geometry }: Cell, way: readonly Point[]): void {
    if (label === '' || isOn(style, 'noLabel')) return;
    const look = lookOf(style, 11);
    const text = layOut(label, isOn(style, 'html'), look, null);
    const { x, y } = onWay(way, geometry?.relative ? geometry.x : 0, geometry?.relative ? geometry.y : 0);
    const offset = geometry?.offset ?? { x: 0, y: 0 };
    const background = colourOf(style, 'labelBackgroundColor', '#ffffff');
    const at = { x: x + offset.x, y: y + offset.y - text.height / 2, anchor: 'middle', background } as const;
    this.#addText(text, look, at, 0, at);
  }

  #addText(
    text: LaidOutText,
    look: TextLook,
    {
      x,
      y,
      anchor,
      background,
    }: Point & { readonly anchor: 'start' | 'middle' | 'end'; readonly background: string | null },
    turn: number,
    around: Point,
  ): void {
    if (text.lines.length === 0) return;
    const left = x - { start: 0, middle: text.width / 2, end: text.width }[anchor];
    const box = { x: left, y, width: text.width, height: text.height };
    const behind = background === null ? '' : element('rect', { ...box, fill: background });
    const transform = turn === 0 ? null : `rotate(${turn} ${around.x} ${around.y})`;
    this.#add(element('g', { transform }, behind + textElement(text, look, x, y, anchor)));
    const turned = corners(box).map((corner) => rotated(corner, turn, around));
    for (const corner of turned) this.#cover({ ...corner, width: 0, height: 0 });
  }

  #add(svg: string): void {
    this.#drawn.push(svg);
  }

  #cover({ x, y, width, height }: Box): void {
    const { left, top, right, bottom } = this.#bounds ?? { left: x, top: y, right: x, bottom: y };
    this.#bounds = {
      left: Math.min(left, x),
      top: Math.min(top, y),
      right: Math.max(right, x + width),
      bottom: Math.max(bottom, y + height),
    };
  }
}

function isText(shape: string): boolean {
  return shape === 'text' || shape === 'group';
}

function boundsOf(box: Box, rotation: number): Box {
  const turned = corners(box).map((corner) => rotated(corner, rotation, centreOf(box)));
  const [x, y] = [Math.min(...turned.map((point) => point.x)), Math.min(...turned.map((point) => point.y))];
  const [right, bottom] = [
    Math.max(...turned.map((point) => point.x)),
    Math.max(...turned.map((point) => point.y)),
  ];
  return { x, y, width: right - x, height: bottom - y };
}
