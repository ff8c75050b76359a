/**
 * Shapes of vertices, each in a box of its own that starts at 0, 0: draw.io's basic ones and those of its general and
 * flowchart palettes. Proportions and sizes are draw.io's defaults (Shapes.js of draw.io, mxGraph's shapes).
 */

import type { Point } from './geometry.ts';
import { isOn, numberOf, type Style } from './style.ts';
import { path, polyline } from './svg.ts';

export interface Shape {
  /** Path data, filled and stroked. */
  readonly body: string;
  /** Path data that is stroked alone. */
  readonly lines?: string;
  /** Path data that is filled alone, below the rest. */
  readonly fill?: string;
  /** What edges end at; the box where it is absent. */
  readonly outline?: 'ellipse' | readonly Point[];
}

type Draw = (width: number, height: number, style: Style) => Shape;

const p = (x: number, y: number): Point => ({ x, y });

/** The box with round corners where the style has them. */
const rectangle: Draw = (w, h, style) => {
  if (!isOn(style, 'rounded')) return { body: polyline([p(0, 0), p(w, 0), p(w, h), p(0, h)], true) };
  const radius = isOn(style, 'absoluteArcSize')
    ? Math.min(w / 2, h / 2, numberOf(style, 'arcSize', 20) / 2)
    : Math.min(w, h) * Math.min(0.5, Math.max(0, numberOf(style, 'arcSize', 15) / 100));
  return { body: roundBox(w, h, radius) };
};

const ellipse: Draw = (w, h) => ({ body: ellipseIn(0, 0, w, h), outline: 'ellipse' });

const polygon =
  (corners: (width: number, height: number, style: Style) => readonly Point[]): Draw =>
  (w, h, style) => {
    const outline = corners(w, h, style);
    return { body: polyline(outline, true), outline };
  };

/** A length that the style gives as a fraction of `whole`, or in pixels with `fixedSize`. */
function sized(style: Style, whole: number, fraction: number, fixed = 20): number {
  const size = numberOf(style, 'size', isOn(style, 'fixedSize') ? fixed : fraction);
  return Math.max(0, Math.min(whole, isOn(style, 'fixedSize') || size > 1 ? size : whole * size));
}

/** A length in pixels, at most half of the box. */
function pixels(style: Style, key: string, otherwise: number, w: number, h: number): number {
  return Math.max(0, Math.min(w / 2, h / 2, numberOf(style, key, otherwise)));
}

const cylinder: Draw = (w, h, style) => {
  const rise = Math.min(h / 2, Math.max(0, numberOf(style, 'size', 15)));
  const [rx, ry] = [w / 2, rise];
  const arc = (x: number, y: number, sweep: number) => path('A', rx, ry, 0, 0, sweep, p(x, y));
  return {
    body: path('M', p(0, ry), arc(w, ry, 1), 'L', p(w, h - ry), arc(0, h - ry, 1), 'Z'),
    lines: path('M', p(0, ry), arc(w, ry, 0)),
  };
};

const process: Draw = (w, h, style) => {
  const inset = sized(style, w / 2, 0.2);
  const size = style.has('size') ? Math.min(w / 2, w * numberOf(style, 'size', 0.1)) : inset;
  return {
    ...rectangle(w, h, style),
    lines: path('M', p(size, 0), 'L', p(size, h), 'M', p(w - size, 0), 'L', p(w - size, h)),
  };
};

const document_: Draw = (w, h, style) => {
  const wave = h * Math.max(0, Math.min(1, numberOf(style, 'size', 0.3)));
  const steep = 1.4;
  return {
    body: path(
      ...['M', p(0, 0), 'L', p(w, 0), 'L', p(w, h - wave / 2)],
      ...['Q', p((w * 3) / 4, h - wave * steep), p(w / 2, h - wave / 2)],
      ...['Q', p(w / 4, h - wave * (1 - steep)), p(0, h - wave / 2), 'Z'],
    ),
  };
};

const note: Draw = (w, h, style) => {
  const fold = pixels(style, 'size', 30, w * 2, h * 2);
  const outline = [p(0, 0), p(w - fold, 0), p(w, fold), p(w, h), p(0, h)];
  return {
    body: polyline(outline, true),
    lines: polyline([p(w - fold, 0), p(w - fold, fold), p(w, fold)]),
    outline,
  };
};

const cloud: Draw = (w, h) => {
  const c = (x: number, y: number) => p(x * w, y * h);
  return {
    body: path(
      ...['M', c(0.25, 0.25), 'C', c(0.05, 0.25), c(0, 0.5), c(0.16, 0.55)],
      ...['C', c(0, 0.66), c(0.18, 0.9), c(0.31, 0.8), 'C', c(0.4, 1), c(0.7, 1), c(0.8, 0.8)],
      ...['C', c(1, 0.8), c(1, 0.6), c(0.875, 0.5), 'C', c(1, 0.3), c(0.8, 0.1), c(0.625, 0.2)],
      ...['C', c(0.5, 0.05), c(0.3, 0.05), c(0.25, 0.25), 'Z'],
    ),
    outline: 'ellipse',
  };
};

const actor: Draw = (w, h) => {
  const c = (x: number, y: number) => p(x * w, y * h);
  return {
    body: path(
      ...['M', c(0, 1), 'C', c(0, 0.6), c(0, 0.4), c(0.5, 0.4), 'C', c(1 / 6, 0.4), c(1 / 6, 0), c(0.5, 0)],
      ...['C', c(5 / 6, 0), c(5 / 6, 0.4), c(0.5, 0.4), 'C', c(1, 0.4), c(1, 0.6), c(1, 1), 'Z'],
    ),
  };
};

const umlActor: Draw = (w, h) => ({
  body: ellipseIn(w / 4, 0, w / 2, h / 4),
  lines: path(
    ...['M', p(w / 2, h / 4), 'L', p(w / 2, (h * 2) / 3), 'M', p(0, h / 3), 'L', p(w, h / 3)],
    ...['M', p(0, h), 'L', p(w / 2, (h * 2) / 3), 'L', p(w, h)],
  ),
});

const cube: Draw = (w, h, style) => {
  const size = pixels(style, 'size', 20, w * 2, h * 2);
  const outline = [p(0, 0), p(w - size, 0), p(w, size), p(w, h), p(size, h), p(0, h - size)];
  return {
    body: polyline(outline, true),
    lines: path('M', p(size, h), 'L', p(size, size), 'L', p(0, 0), 'M', p(size, size), 'L', p(w, size)),
    outline,
  };
};

const folder: Draw = (w, h, style) => {
  const [tabWidth, tabHeight] = [
    Math.min(w, numberOf(style, 'tabWidth', 60)),
    Math.min(h, numberOf(style, 'tabHeight', 20)),
  ];
  const left = style.get('tabPosition') === 'left';
  const tab = left
    ? [p(0, 0), p(tabWidth, 0), p(tabWidth, tabHeight), p(w, tabHeight)]
    : [p(0, tabHeight), p(w - tabWidth, tabHeight), p(w - tabWidth, 0), p(w, 0)];
  return {
    body: polyline([...tab, p(w, h), p(0, h)], true),
    lines: polyline([p(0, tabHeight), p(w, tabHeight)]),
  };
};

const tape: Draw = (w, h, style) => {
  const wave = h * Math.max(0, Math.min(1, numberOf(style, 'size', 0.4)));
  const steep = 1.4;
  return {
    body: path(
      ...['M', p(0, wave / 2), 'Q', p(w / 4, wave * steep), p(w / 2, wave / 2)],
      ...['Q', p((w * 3) / 4, wave * (1 - steep)), p(w, wave / 2), 'L', p(w, h - wave / 2)],
      ...['Q', p((w * 3) / 4, h - wave * steep), p(w / 2, h - wave / 2)],
      ...['Q', p(w / 4, h - wave * (1 - steep)), p(0, h - wave / 2), 'Z'],
    ),
  };
};

const dataStorage: Draw = (w, h, style) => {
  const size = sized(style, w, 0.1);
  return {
    body: path(
      ...['M', p(size, 0), 'L', p(w, 0), 'Q', p(w - size * 2, h / 2), p(w, h)],
      ...['L', p(size, h), 'Q', p(-size, h / 2), p(size, 0), 'Z'],
    ),
  };
};

const delay: Draw = (w, h) => {
  const round = Math.min(w, h / 2);
  return {
    body: path(
      ...['M', p(0, 0), 'L', p(w - round, 0), 'Q', p(w, 0), p(w, h / 2)],
      ...['Q', p(w, h), p(w - round, h), 'L', p(0, h), 'Z'],
    ),
  };
};

const internalStorage: Draw = (w, h, style) => {
  const [dx, dy] = [numberOf(style, 'dx', 20), numberOf(style, 'dy', 20)];
  return {
    ...rectangle(w, h, style),
    lines: path('M', p(0, dy), 'L', p(w, dy), 'M', p(dx, 0), 'L', p(dx, h)),
  };
};

const callout = polygon((w, h, style) => {
  const size = Math.min(h, numberOf(style, 'size', 30));
  const [start, tip] = [w * numberOf(style, 'position', 0.5), w * numberOf(style, 'position2', 0.5)];
  const end = Math.min(w, start + numberOf(style, 'base', 20));
  return [p(0, 0), p(w, 0), p(w, h - size), p(end, h - size), p(tip, h), p(start, h - size), p(0, h - size)];
});

const crossed: Draw = (w, h) => {
  const [x, y] = [(w / 2) * (1 - Math.SQRT1_2), (h / 2) * (1 - Math.SQRT1_2)];
  return {
    body: ellipseIn(0, 0, w, h),
    lines: path('M', p(x, y), 'L', p(w - x, h - y), 'M', p(w - x, y), 'L', p(x, h - y)),
    outline: 'ellipse',
  };
};

const lifeline: Draw = (w, h, style) => {
  const head = Math.min(h, numberOf(style, 'size', 40));
  return { ...rectangle(w, head, style), lines: polyline([p(w / 2, head), p(w / 2, h)]) };
};

const frame: Draw = (w, h, style) => {
  const [width, height] = [
    Math.min(w, numberOf(style, 'width', 60)),
    Math.min(h, numberOf(style, 'height', 30)),
  ];
  const cut = 10;
  return {
    body: polyline(
      [p(0, 0), p(width, 0), p(width, height - cut), p(width - cut, height), p(0, height)],
      true,
    ),
    lines: path('M', p(width, 0), 'L', p(w, 0), 'L', p(w, h), 'L', p(0, h), 'L', p(0, height)),
  };
};

const component: Draw = (w, h) => {
  const [jw, jh] = [Math.min(w, 20), Math.min(h / 4, 10)];
  const jetty = (y: number) => polyline([p(0, y), p(jw, y), p(jw, y + jh), p(0, y + jh)], true);
  return {
    body: `${polyline([p(jw / 2, 0), p(w, 0), p(w, h), p(jw / 2, h)], true)} ${jetty(h * 0.2)} ${jetty(h * 0.6)}`,
  };
};

const curlyBracket: Draw = (w, h, style) => {
  const [x, r] = [w / 2, Math.min(w / 2, h / 4, numberOf(style, 'arcSize', 10))];
  return {
    body: '',
    lines: path(
      ...['M', p(w, 0), 'Q', p(x, 0), p(x, r), 'L', p(x, h / 2 - r), 'Q', p(x, h / 2), p(0, h / 2)],
      ...['Q', p(x, h / 2), p(x, h / 2 + r), 'L', p(x, h - r), 'Q', p(x, h), p(w, h)],
    ),
  };
};

const arrow = (both: boolean) =>
  polygon((w, h, style) => {
    const half = (h * Math.max(0, Math.min(1, numberOf(style, 'arrowWidth', 0.3)))) / 2;
    const head = Math.min(both ? w / 2 : w, w * numberOf(style, 'arrowSize', 0.2));
    const [top, bottom, right] = [h / 2 - half, h / 2 + half, w - head];
    const tip = [p(right, top), p(right, 0), p(w, h / 2), p(right, h), p(right, bottom)];
    return both
      ? [p(0, h / 2), p(head, 0), p(head, top), ...tip, p(head, bottom), p(head, h)]
      : [p(0, top), ...tip, p(0, bottom)];
  });

const partialRectangle: Draw = (w, h, style) => {
  const sides = [
    ['top', p(0, 0), p(w, 0)],
    ['right', p(w, 0), p(w, h)],
    ['bottom', p(w, h), p(0, h)],
    ['left', p(0, h), p(0, 0)],
  ] as const;
  const shown = sides.filter(([side]) => isOn(style, side, true));
  return {
    body: '',
    fill: polyline([p(0, 0), p(w, 0), p(w, h), p(0, h)], true),
    lines: shown.map(([, a, b]) => polyline([a, b])).join(' '),
  };
};

/** Its title alone is filled. */
const swimlane: Draw = (w, h, style) => {
  const title = titleSize(style, w, h);
  const [x, y] = isOn(style, 'horizontal', true) ? [w, title] : [title, h];
  return {
    body: title > 0 ? polyline([p(0, 0), p(x, 0), p(x, y), p(0, y)], true) : '',
    lines: rectangle(w, h, new Map()).body,
  };
};

/** How much of a swimlane its title takes, along its height or, where it stands upright, its width. */
export function titleSize(style: Style, width: number, height: number): number {
  return Math.max(
    0,
    Math.min(isOn(style, 'horizontal', true) ? height : width, numberOf(style, 'startSize', 23)),
  );
}

const rhombus = polygon((w, h) => [p(w / 2, 0), p(w, h / 2), p(w / 2, h), p(0, h / 2)]);
const hexagon = polygon((w, h, style) => {
  const d = sized(style, w / 2, 0.5);
  return [p(d, 0), p(w - d, 0), p(w, h / 2), p(w - d, h), p(d, h), p(0, h / 2)];
});
const parallelogram = polygon((w, h, style) => {
  const d = sized(style, w, 0.2);
  return [p(0, h), p(d, 0), p(w, 0), p(w - d, h)];
});
const trapezoid = polygon((w, h, style) => {
  const d = sized(style, w / 2, 0.4);
  return [p(0, h), p(d, 0), p(w - d, 0), p(w, h)];
});
const step = polygon((w, h, style) => {
  const d = sized(style, w, 0.2);
  return [p(0, 0), p(w - d, 0), p(w, h / 2), p(w - d, h), p(0, h), p(d, h / 2)];
});
const cross = polygon((w, h, style) => {
  const half = (Math.min(w, h) * numberOf(style, 'size', 0.2)) / 2;
  const [l, r, t, b] = [w / 2 - half, w / 2 + half, h / 2 - half, h / 2 + half];
  return [
    p(l, 0),
    p(r, 0),
    p(r, t),
    p(w, t),
    p(w, b),
    p(r, b),
    p(r, h),
    p(l, h),
    p(l, b),
    p(0, b),
    p(0, t),
    p(l, t),
  ];
});
const terminator: Draw = (w, h) => ({ body: roundBox(w, h, Math.min(w, h) / 2) });
const nothing: Draw = () => ({ body: '' });

const SHAPES: Readonly<Record<string, Draw>> = {
  rectangle,
  label: rectangle,
  text: rectangle,
  group: nothing,
  ellipse,
  rhombus,
  hexagon,
  parallelogram,
  trapezoid,
  step,
  cross,
  cylinder,
  note,
  cloud,
  actor,
  umlActor,
  cube,
  folder,
  tape,
  process,
  delay,
  callout,
  component,
  swimlane,
  table: swimlane,
  tableRow: (w, h) => ({ body: '', fill: polyline([p(0, 0), p(w, 0), p(w, h), p(0, h)], true) }),
  partialRectangle,
  dataStorage,
  internalStorage,
  curlyBracket,
  doubleEllipse: (w, h) => {
    const inset = Math.min(4, w / 5, h / 5);
    return { ...ellipse(w, h, new Map()), lines: ellipseIn(inset, inset, w - 2 * inset, h - 2 * inset) };
  },
  triangle: polygon((w, h) => [p(0, 0), p(w, h / 2), p(0, h)]),
  document: document_,
  card: polygon((w, h, style) => {
    const cut = pixels(style, 'size', 30, w * 2, h * 2);
    return [p(cut, 0), p(w, 0), p(w, h), p(0, h), p(0, cut)];
  }),
  manualInput: polygon((w, h, style) => [
    p(0, h),
    p(0, Math.min(h, numberOf(style, 'size', 30))),
    p(w, 0),
    p(w, h),
  ]),
  loopLimit: polygon((w, h, style) => {
    const cut = pixels(style, 'size', 20, w, h * 2);
    return [p(cut, 0), p(w - cut, 0), p(w, cut * 0.8), p(w, h), p(0, h), p(0, cut * 0.8)];
  }),
  offPageConnector: polygon((w, h, style) => {
    const tip = h * (1 - numberOf(style, 'size', 3 / 8));
    return [p(0, 0), p(w, 0), p(w, tip), p(w / 2, h), p(0, tip)];
  }),
  line: (w, h) => ({ body: '', lines: polyline([p(0, h / 2), p(w, h / 2)]) }),
  umlLifeline: lifeline,
  umlFrame: frame,
  umlState: rectangle,
  startState: ellipse,
  endState: (w, h) => ({
    body: ellipseIn(w / 6, h / 6, (w * 2) / 3, (h * 2) / 3),
    lines: ellipseIn(0, 0, w, h),
    outline: 'ellipse',
  }),
  sumEllipse: crossed,
  orEllipse: (w, h) => ({
    ...ellipse(w, h, new Map()),
    lines: path('M', p(0, h / 2), 'L', p(w, h / 2), 'M', p(w / 2, 0), 'L', p(w / 2, h)),
  }),
  lineEllipse: (w, h) => ({ ...ellipse(w, h, new Map()), lines: polyline([p(0, h / 2), p(w, h / 2)]) }),
  or: (w, h) => ({ body: path('M', p(0, 0), 'Q', p(w, 0), p(w, h / 2), 'Q', p(w, h), p(0, h), 'Z') }),
  xor: (w, h) => ({
    body: path(
      'M',
      p(0, 0),
      'Q',
      p(w, 0),
      p(w, h / 2),
      'Q',
      p(w, h),
      p(0, h),
      'Q',
      p(w / 2, h / 2),
      p(0, 0),
      'Z',
    ),
  }),
  singleArrow: arrow(false),
  doubleArrow: arrow(true),
};

/** Other names of the same. */
const ALIASES: Readonly<Record<string, string>> = {
  rect: 'rectangle',
  ext: 'rectangle',
  cylinder2: 'cylinder',
  cylinder3: 'cylinder',
  datastore: 'cylinder',
  note2: 'note',
  process2: 'process',
  parallelogram2: 'parallelogram',
  hexagon2: 'hexagon',
  module: 'component',
  plus: 'cross',
  wedgeRectCallout: 'callout',
  'mxgraph.flowchart.decision': 'rhombus',
  'mxgraph.flowchart.process': 'rectangle',
  'mxgraph.flowchart.data': 'parallelogram',
  'mxgraph.flowchart.database': 'cylinder',
  'mxgraph.flowchart.delay': 'delay',
  'mxgraph.flowchart.document': 'document',
  'mxgraph.flowchart.document2': 'document',
  'mxgraph.flowchart.manual_input': 'manualInput',
  'mxgraph.flowchart.on-page_reference': 'ellipse',
  'mxgraph.flowchart.off-page_reference': 'offPageConnector',
  'mxgraph.flowchart.predefined_process': 'process',
  'mxgraph.flowchart.preparation': 'hexagon',
  'mxgraph.flowchart.start_1': 'ellipse',
  'mxgraph.flowchart.start_2': 'ellipse',
  'mxgraph.flowchart.stored_data': 'dataStorage',
  'mxgraph.flowchart.summing_function': 'sumEllipse',
  'mxgraph.flowchart.or': 'orEllipse',
  'mxgraph.flowchart.internal_storage': 'internalStorage',
  'mxgraph.flowchart.loop_limit': 'loopLimit',
  'mxgraph.flowchart.card': 'card',
};

/** Null for a shape that we cannot draw: one of a palette, or made by hand. */
export function shapeOf(name: string, width: number, height: number, style: Style): Shape | null {
  if (name === 'mxgraph.flowchart.terminator') return terminator(width, height, style);
  const known = Object.hasOwn(ALIASES, name) ? (ALIASES[name] ?? name) : name;
  return Object.hasOwn(SHAPES, known) ? (SHAPES[known]?.(width, height, style) ?? null) : null;
}

export function boxShape(width: number, height: number, style: Style): Shape {
  return rectangle(width, height, style);
}

function roundBox(w: number, h: number, r: number): string {
  const corner = (x: number, y: number) => path('A', r, r, 0, 0, 1, p(x, y));
  return path(
    ...['M', p(r, 0), 'L', p(w - r, 0), corner(w, r), 'L', p(w, h - r), corner(w - r, h)],
    ...['L', p(r, h), corner(0, h - r), 'L', p(0, r), corner(r, 0), 'Z'],
  );
}

function ellipseIn(x: number, y: number, w: number, h: number): string {
  const arc = (to: Point) => path('A', w / 2, h / 2, 0, 0, 1, to);
  return path('M', p(x, y + h / 2), arc(p(x + w, y + h / 2)), arc(p(x, y + h / 2)), 'Z');
}
