/** The style of a cell: `name;key=value;key=value`, over the defaults that draw.io itself starts from. */

export type Style = ReadonlyMap<string, string>;

/** draw.io's named styles, as far as they say something that is drawn. */
const NAMED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  text: { shape: 'text', fillColor: 'none', strokeColor: 'none', align: 'left', verticalAlign: 'top' },
  edgeLabel: {
    shape: 'text',
    fillColor: 'none',
    strokeColor: 'none',
    align: 'left',
    verticalAlign: 'top',
    labelBackgroundColor: '#ffffff',
    fontSize: '11',
  },
  group: { shape: 'group', fillColor: 'none', strokeColor: 'none', verticalAlign: 'top' },
  swimlane: { shape: 'swimlane', fontStyle: '1', startSize: '23' },
  label: { shape: 'label', fontStyle: '1', align: 'left', spacingLeft: '52' },
  image: {
    shape: 'image',
    labelBackgroundColor: '#ffffff',
    verticalAlign: 'top',
    verticalLabelPosition: 'bottom',
  },
  icon: {
    shape: 'image',
    labelBackgroundColor: '#ffffff',
    verticalAlign: 'top',
    verticalLabelPosition: 'bottom',
  },
  line: {
    shape: 'line',
    strokeWidth: '4',
    labelBackgroundColor: '#ffffff',
    verticalAlign: 'top',
    spacingTop: '8',
  },
};

export function parseStyle(text: string): Style {
  const style = new Map<string, string>();
  for (const entry of text.split(';')) {
    const equals = entry.indexOf('=');
    const key = (equals < 0 ? entry : entry.slice(0, equals)).trim();
    if (key === '') continue;
    if (equals >= 0) style.set(key, entry.slice(equals + 1).trim());
    else if (Object.hasOwn(NAMED, key))
      for (const [name, value] of Object.entries(NAMED[key] ?? {})) style.set(name, value);
    // A name that stands alone is most often that of a shape: `ellipse`, `rhombus`, `triangle`.
    else if (!style.has('shape')) style.set('shape', key);
  }
  return style;
}

/** A number within sensible bounds. */
export function numberOf(style: Style, key: string, otherwise: number): number {
  const value = Number.parseFloat(style.get(key) ?? '');
  return Number.isFinite(value) ? Math.max(-MAX_NUMBER, Math.min(MAX_NUMBER, value)) : otherwise;
}

const MAX_NUMBER = 100_000;

export function isOn(style: Style, key: string, otherwise = false): boolean {
  const value = style.get(key);
  return value === undefined ? otherwise : value === '1';
}

/** Null for `none`; `otherwise` for what is no colour. */
export function colourOf(style: Style, key: string, otherwise: string | null): string | null {
  const value = style.get(key);
  return value === undefined || value === '' ? otherwise : plainColour(value, otherwise);
}

/** Takes the light one of draw.io's pairs for light and dark. */
export function plainColour(value: string, otherwise: string | null): string | null {
  const colour = (/^light-dark\(\s*([^,]+?)\s*,/.exec(value)?.[1] ?? value).trim();
  if (colour === 'none' || colour === 'transparent') return null;
  if (colour === 'default' || colour === 'inherit') return otherwise;
  const isColour =
    /^#[0-9a-f]{3,8}$/i.test(colour) ||
    /^[a-z]{3,20}$/i.test(colour) ||
    /^rgba?\([\d\s.,%/]{1,40}\)$/i.test(colour);
  return isColour ? colour : otherwise;
}
