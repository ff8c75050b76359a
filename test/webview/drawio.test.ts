/** Pages of draw.io, drawn by the built chat page in a real browser. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drawioPages, plainDrawio } from '../../extension/diagram-source.ts';
import { INITIAL_STATE } from '../../webview/state.ts';
import { CHROMIUM, PageInBrowser } from './page-in-browser.ts';
import { twoColours } from './picture-files.ts';

const SHOP = fileURLToPath(new URL('../fixtures/diagrams/shop.drawio', import.meta.url));

const RED = 'ff0000';
const BLUE = '0000ff';
const GREEN = '00ff00';
const WHITE = 'ffffff';

/** What the tests look at in the page; their own compilation knows Node only. */
interface PageGlobals {
  readonly sentToHost: { readonly request?: Sent }[];
}
interface Sent {
  readonly type: string;
  readonly message?: string;
  readonly picture?: Picture & { readonly rgba: ArrayBuffer };
}
interface Picture {
  readonly width: number;
  readonly height: number;
  readonly notes: readonly string[];
}

const page = (cells: string) =>
  `<mxGraphModel><root><mxCell id="0"/><mxCell id="1" parent="0"/>${cells}</root></mxGraphModel>`;
const geometry = (x: number, y: number, width: number, height: number) =>
  `<mxGeometry x="${x}" y="${y}" width="${width}" height="${height}" as="geometry"/>`;
const vertex = (id: string, style: string, place: string, { parent = '1', value = '', more = '' } = {}) =>
  `<mxCell id="${id}" value="${value}" style="strokeColor=none;${style}" vertex="1" parent="${parent}" ${more}>${place}</mxCell>`;
const edge = (source: string, target: string, style: string, inside = '') =>
  `<mxCell id="${source}-${target}" style="strokeColor=#00ff00;strokeWidth=4;endArrow=none;${style}" edge="1" parent="1" source="${source}" target="${target}"><mxGeometry relative="1" as="geometry">${inside}</mxGeometry></mxCell>`;
const points = (...list: readonly (readonly [number, number])[]) =>
  `<Array as="points">${list.map(([x, y]) => `<mxPoint x="${x}" y="${y}"/>`).join('')}</Array>`;

const skip = existsSync(CHROMIUM) ? false : 'Chromium is not installed';

describe('a page of draw.io', { skip }, () => {
  let chat: PageInBrowser;
  before(async () => {
    chat = await PageInBrowser.open();
  });
  after(() => chat?.close());
  beforeEach(async () => {
    await chat.page.reload();
    await chat.receive({ type: 'state', state: { ...INITIAL_STATE, sidecar: { state: 'running' } } });
    await chat.requests();
  });

  async function draw(source: string): Promise<void> {
    await chat.receive({ type: 'draw', key: 'drawing-1', name: 'plan.drawio', language: 'drawio', source });
  }

  /** The picture, and its colours at `places` of the diagram, whose drawn part begins at `origin`. */
  async function drawn(
    source: string,
    places: readonly (readonly [x: number, y: number])[],
    size: readonly [width: number, height: number],
    origin: readonly [x: number, y: number] = [0, 0],
  ): Promise<{ colours: string[]; notes: readonly string[] }> {
    await draw(source);
    const handle = await chat.page.waitForFunction(
      ({ places, size, origin, margin }) => {
        const { sentToHost } = globalThis as unknown as PageGlobals;
        const sent = sentToHost.find(({ request }) => request?.type === 'attach-picture')?.request?.picture;
        if (sent === undefined) return null;
        const rgba = new Uint8Array(sent.rgba);
        const scale = sent.width / (size[0] + 2 * margin);
        const colours = places.map(([x, y]) => {
          const column = Math.round((x - origin[0] + margin) * scale);
          const row = Math.round((y - origin[1] + margin) * scale);
          const at = (row * sent.width + column) * 4;
          return [...rgba.subarray(at, at + 3)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
        });
        return { colours, notes: sent.notes, aspect: sent.width / sent.height };
      },
      { places, size, origin, margin: 10 },
    );
    const { colours, notes, aspect } = (await handle.jsonValue())!;
    const expected = (size[0] + 20) / (size[1] + 20);
    assert.ok(Math.abs(aspect / expected - 1) < 0.01, `its sides are as ${aspect}, not ${expected}`);
    return { colours, notes };
  }

  async function refusal(): Promise<string> {
    const handle = await chat.page.waitForFunction(() => {
      const { sentToHost } = globalThis as unknown as PageGlobals;
      return sentToHost.find(({ request }) => request?.type === 'picture-refused')?.request?.message;
    });
    return (await handle.jsonValue()) ?? '';
  }

  it('has its shapes where they stand, in their forms and colours', async () => {
    const source = page(
      vertex('a', 'fillColor=#ff0000;', geometry(0, 0, 100, 100)) +
        vertex('group', 'group', geometry(200, 0, 200, 100)) +
        vertex('b', 'rhombus;fillColor=#0000ff;', geometry(100, 0, 100, 100), { parent: 'group' }) +
        vertex(
          'half',
          'fillColor=#00ff00;',
          '<mxGeometry x="0.5" y="0.5" width="10" height="10" relative="1" as="geometry"/>',
          {
            parent: 'a',
          },
        ),
    );
    const { colours, notes } = await drawn(
      source,
      [
        ...([
          [5, 5],
          [55, 55],
          [150, 50],
          [350, 50],
          [305, 5],
        ] as const),
      ],
      [400, 100],
    );
    assert.deepEqual(colours, [RED, GREEN, WHITE, BLUE, WHITE]);
    assert.deepEqual(notes, []);
  });

  it('has its edges between them: straight, at right angles, and by way of points', async () => {
    const source = page(
      vertex('a', 'fillColor=#ff0000;', geometry(0, 0, 100, 100)) +
        vertex('b', 'fillColor=#0000ff;', geometry(300, 0, 100, 100)) +
        vertex('c', 'fillColor=#0000ff;', geometry(300, 300, 100, 100)) +
        edge('a', 'b', '') +
        edge('b', 'c', 'edgeStyle=orthogonalEdgeStyle;') +
        edge(
          'a',
          'c',
          'edgeStyle=orthogonalEdgeStyle;exitX=0.5;exitY=1;entryX=0;entryY=0.5;',
          points([50, 350]),
        ),
    );
    const { colours } = await drawn(
      source,
      [
        ...([
          [200, 50],
          [350, 200],
          [50, 250],
          [200, 350],
          [200, 200],
        ] as const),
      ],
      [400, 400],
    );
    assert.deepEqual(colours, [GREEN, GREEN, GREEN, GREEN, WHITE]);
  });

  it('has its labels, of HTML too, without what is no text of them', async () => {
    const source = page(
      vertex(
        'a',
        'text;html=1;fontColor=#0000ff;fontSize=80;align=center;verticalAlign=middle;',
        geometry(0, 0, 200, 100),
        {
          value: '&lt;b&gt;■&lt;/b&gt;&lt;script&gt;■■■&lt;/script&gt;',
        },
      ),
    );
    const { colours } = await drawn(source, [[100, 55]], [200, 100]);
    assert.deepEqual(colours, [BLUE]);
  });

  it('leaves out what is hidden or folded away; edges go to what is still there', async () => {
    const source = page(
      '<mxCell id="2" parent="0" visible="0"/>' +
        vertex('hidden', 'fillColor=#ff0000;', geometry(0, 0, 400, 100), { parent: '2' }) +
        vertex('folded', 'fillColor=#0000ff;', geometry(0, 0, 100, 100), { more: 'collapsed="1"' }) +
        vertex('inside', 'fillColor=#ff0000;', geometry(0, 0, 100, 100), { parent: 'folded' }) +
        vertex('b', 'fillColor=#0000ff;', geometry(300, 0, 100, 100)) +
        edge('inside', 'b', '') +
        edge('hidden', 'b', ''),
    );
    const { colours } = await drawn(
      source,
      [
        [50, 50],
        [200, 50],
        [200, 20],
      ],
      [400, 100],
    );
    assert.deepEqual(colours, [BLUE, GREEN, WHITE]);
  });

  it('says which shapes it does not know, and which pictures are not there', async () => {
    const data = twoColours(40, 20).toString('base64');
    const icon = 'shape=mxgraph.aws4.resourceIcon;resIcon=mxgraph.aws4.lambda;fillColor=#0000ff;';
    const source = page(
      vertex('a', icon, geometry(0, 0, 100, 100), { value: 'Price' }) +
        vertex('b', `shape=image;image=data:image/png,${data};`, geometry(150, 0, 100, 50)) +
        vertex('c', `shape=image;image=${chat.worldOrigin}/logo.png;`, geometry(300, 0, 100, 100)) +
        vertex('d', 'shape=stencil(abc);', geometry(320, 30, 60, 40)),
    );
    const before = chat.leaked.length;
    const { colours, notes } = await drawn(
      source,
      [
        [10, 10],
        [160, 10],
        [240, 10],
      ],
      [400, 100],
    );
    assert.deepEqual(colours, [BLUE, RED, BLUE]);
    assert.deepEqual(notes, [
      '2 shapes are drawn in a plain form: lambda, own stencil.',
      '1 picture of the diagram cannot be shown.',
    ]);
    assert.equal(chat.leaked.length, before);
  });

  it('that tries to run and load things does neither', async () => {
    const before = chat.leaked.length;
    const world = chat.worldOrigin;
    const html = `<img src='${world}/a' onerror='window.ran=1'><iframe src='${world}/b'></iframe><script>window.ran=1</script>ok`;
    const value = html.replaceAll('<', '&lt;').replaceAll('>', '&gt;');
    const quotes = '&quot;/&gt;&lt;script&gt;window.ran=1&lt;/script&gt;';
    const source = page(
      vertex(
        'a',
        `html=1;fillColor=${quotes};fontColor=url(${world}/c);image=data:image/svg+xml,x${quotes};`,
        geometry(0, 0, 100, 100),
        {
          value,
        },
      ) + vertex('b', `shape=${quotes};fillColor=#ff0000;`, geometry(100, 0, 100, 100)),
    );
    const { colours } = await drawn(
      source,
      [
        [10, 10],
        [110, 10],
      ],
      [200, 100],
    );
    assert.deepEqual(colours, [WHITE, RED]);
    assert.equal(chat.leaked.length, before);
    assert.equal(await chat.page.evaluate(() => Reflect.get(globalThis, 'ran')), undefined);
  });

  for (const [what, source, sentence] of [
    ['damaged', '<mxGraphModel><root>', /its XML is damaged/],
    ['packed still', 'dZHBDoMgDIafhruC2', /its XML is damaged/],
    ['of something else', '<svg xmlns="http://www.w3.org/2000/svg"/>', /holds no page of draw\.io/],
    ['empty', page(''), /the page is empty/],
    ['an entity bomb', `<!DOCTYPE a [<!ENTITY b "c">]>${page('')}`, /declares a document type/],
    [
      'enormous',
      page('<mxCell parent="1" vertex="1"/>'.repeat(5_001)),
      /has 5,003 cells, and at most 5,000 are drawn/,
    ],
  ] as const) {
    it(`that is ${what} is refused with the reason`, async () => {
      await draw(source);
      const message = await refusal();
      assert.match(message, /^“plan\.drawio” could not be drawn \(/);
      assert.match(message, sentence);
    });
  }

  it('that is damaged in any way becomes an SVG of plain shapes and text, or is refused', async () => {
    const sources = drawioPages(plainDrawio(readFileSync(SHOP, 'utf8'))).map((one) => one.source);
    // A document without the page's policy, which lets nobody import but the page itself.
    const plain = await chat.page.context().browser()!.newPage();
    await plain.goto(new URL('/drawio.js', chat.page.url()).href);
    const outcome = await plain.evaluate(drawDamaged, { sources, rounds: 300 });
    await plain.close();
    assert.deepEqual(outcome.wrong, []);
    assert.ok(outcome.drawn > 20 && outcome.refused > 20, JSON.stringify(outcome));
  });

  it('of an ordinary file is drawn, packed or not, with all that it shows', async () => {
    const pages = drawioPages(plainDrawio(readFileSync(SHOP, 'utf8')));
    assert.deepEqual(
      pages.map(({ name }) => name),
      ['Checkout', 'Data & lanes'],
    );
    const notes: (readonly string[])[] = [];
    for (const { source } of pages) {
      await draw(source);
      const handle = await chat.page.waitForFunction(() => {
        const { sentToHost } = globalThis as unknown as PageGlobals;
        return sentToHost.find(({ request }) => request?.type === 'attach-picture')?.request?.picture?.notes;
      });
      notes.push((await handle.jsonValue())!);
      await chat.requests();
    }
    assert.deepEqual(notes, [['1 shape is drawn in a plain form: lambda.'], []]);
  });
});

/** Runs in the page: draws pages with random damage, of a fixed seed, and says what is wrong with what came of it. */
async function drawDamaged({
  sources,
  rounds,
}: {
  sources: readonly string[];
  rounds: number;
}): Promise<{ drawn: number; refused: number; wrong: string[] }> {
  interface Parsed {
    querySelectorAll(selector: string): Iterable<{
      readonly localName: string;
      readonly attributes: Iterable<{ readonly name: string; readonly value: string }>;
    }>;
  }
  const { DOMParser } = globalThis as unknown as {
    DOMParser: new () => { parseFromString(text: string, type: string): Parsed };
  };
  const bundle = '/drawio.js';
  const { draw } = (await import(bundle)) as { draw(source: string): Promise<{ svg: string }> };
  const elements = ['svg', 'g', 'path', 'rect', 'image', 'text', 'tspan'];
  const pieces = [
    '1e999',
    '-5',
    'NaN',
    '"',
    '<',
    '&lt;script&gt;',
    'rotation=90;',
    ' parent="2"',
    ';shape=',
    '\u0000',
    '0',
  ];
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  const result = { drawn: 0, refused: 0, wrong: [] as string[] };
  for (let round = 0; round < rounds; round++) {
    let source = sources[round % sources.length]!;
    for (let damage = random(4); damage >= 0; damage--) {
      const [at, length] = [random(source.length), random(12)];
      // Mostly within attributes, so that much of it stays well-formed.
      const piece = random(3) === 0 ? pieces[random(pieces.length)]! : String(random(1_000));
      source = source.slice(0, at) + piece + source.slice(at + (random(2) === 0 ? length : 0));
    }
    try {
      const { svg } = await draw(source);
      result.drawn++;
      for (const { localName, attributes } of new DOMParser()
        .parseFromString(svg, 'image/svg+xml')
        .querySelectorAll('*')) {
        if (!elements.includes(localName)) result.wrong.push(`an element ${localName}`);
        for (const { name, value } of attributes)
          if (/^on|^style$/i.test(name) || /NaN|Infinity|undefined|url\(/.test(value))
            result.wrong.push(`${name}="${value}"`);
      }
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) result.wrong.push(String(error));
      result.refused++;
    }
  }
  return result;
}
