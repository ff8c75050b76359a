/** Pictures on the built page in a real browser: in, looked at, cut, refused, with this test as the host. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { DiagramLanguage } from '../../webview/messages.ts';
import type { Picture } from '../../webview/picture.ts';
import { type ChatState, INITIAL_STATE } from '../../webview/state.ts';
import { CHROMIUM, PageInBrowser } from './page-in-browser.ts';
import { ENTITY_BOMB, hostileSvg, png, twoColours } from './picture-files.ts';

const READY: ChatState = {
  ...INITIAL_STATE,
  sidecar: { state: 'running' },
  workspace: { folder: 'shop', trusted: true },
};
const PICTURE: Picture = {
  key: 'picture-1',
  name: 'board.png',
  width: 400,
  height: 200,
  details: false,
  notes: [],
  encoding: { state: 'ready', imageId: 'id', tokens: 260 },
};

/** What the tests look at in the page; their own compilation knows Node only. */
interface PageGlobals {
  readonly sentToHost: { readonly request?: Sent }[];
  readonly document: { querySelector(selector: string): { readonly shadowRoot: PageGlobals['document'] } };
  DataTransfer: new () => { readonly items: { add(file: object): void } };
  dispatchEvent(event: object): void;
}
interface Sent {
  readonly type: string;
  readonly picture?: {
    readonly name: string;
    readonly width: number;
    readonly height: number;
    readonly rgba: ArrayBuffer;
    readonly notes: readonly string[];
  };
  readonly region?: unknown;
  readonly message?: string;
}

/** A picture as it left the page, with the colours at its corners and middle. */
interface Attached {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly notes: readonly string[];
  readonly left: number[];
  readonly right: number[];
}

const skip = existsSync(CHROMIUM) ? false : 'Chromium is not installed';

describe('pictures on the chat page', { skip }, () => {
  let page: PageInBrowser;
  before(async () => {
    page = await PageInBrowser.open();
  });
  after(() => page?.close());
  beforeEach(async () => {
    await page.page.reload();
    await page.receive({ type: 'state', state: READY });
    await page.get('input').fill('');
    await page.requests();
  });

  /** Pastes or drops `file`; the page has no other way to get at a file by itself. */
  async function give(how: 'paste' | 'drop', name: string, type: string, file: Uint8Array): Promise<void> {
    const target = page.get('input');
    await target.evaluate(
      (input, [how, name, type, base64]) => {
        const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        const window = globalThis as unknown as Record<string, new (...parts: unknown[]) => never>;
        const data = new window['DataTransfer']!() as { items: { add(file: unknown): void } };
        data.items.add(new window['File']!([bytes], name, { type }));
        const options = { bubbles: true, cancelable: true, composed: true };
        const event =
          how === 'paste'
            ? new window['ClipboardEvent']!('paste', { ...options, clipboardData: data })
            : new window['DragEvent']!('drop', { ...options, dataTransfer: data });
        (input as unknown as { dispatchEvent(event: unknown): void }).dispatchEvent(event);
      },
      [how, name, type, Buffer.from(file).toString('base64')] as const,
    );
  }

  async function attached(): Promise<Attached> {
    const handle = await page.page.waitForFunction(() => {
      const { sentToHost } = globalThis as unknown as PageGlobals;
      const sent = sentToHost.find(({ request }) => request?.type === 'attach-picture')?.request?.picture;
      if (sent === undefined) return null;
      const { name, width, height, notes } = sent;
      const rgba = new Uint8Array(sent.rgba);
      const at = (x: number, y: number) => [...rgba.subarray((y * width + x) * 4, (y * width + x) * 4 + 4)];
      const middle = Math.floor(height / 2);
      return { name, width, height, notes, left: at(0, middle), right: at(width - 1, middle) };
    });
    return (await handle.jsonValue())!;
  }

  async function problem(): Promise<string> {
    await page.get('picture-problem').waitFor();
    return ((await page.get('picture-problem').textContent()) ?? '').trim();
  }

  it('are decoded to their exact pixels when they are pasted', async () => {
    await give('paste', 'image.png', 'image/png', twoColours(40, 20));
    assert.deepEqual(await attached(), {
      name: 'Pasted image',
      width: 40,
      height: 20,
      notes: [],
      left: [255, 0, 0, 255],
      right: [0, 0, 255, 255],
    });
  });

  it('keep their alpha', async () => {
    await give(
      'paste',
      'a.png',
      'image/png',
      png(8, 8, (x) => (x < 4 ? [0, 0, 0, 0] : [200, 100, 0, 128])),
    );
    const { left, right } = await attached();
    assert.deepEqual([left[3], right[3]], [0, 128]);
  });

  it('are attached when they are dropped', async () => {
    await give('drop', 'board.png', 'image/png', twoColours(40, 20));
    assert.equal((await attached()).name, 'board.png');
  });

  it('of an SVG are drawn large, with nothing loaded and nothing run', async () => {
    await page.get('input').fill('What is this?');
    const before = page.leaked.length;
    await give('drop', 'a.svg', 'image/svg+xml', Buffer.from(hostileSvg(page.worldOrigin)));
    const { width, height } = await attached();
    assert.deepEqual([width, height], [1792, 1792]);
    assert.equal(page.leaked.length, before);
    assert.equal(await page.page.evaluate(() => Reflect.get(globalThis, 'ran')), undefined);
  });

  it('of an SVG with HTML in it are drawn without the HTML, and say so', async () => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="20" height="20" fill="red"/>' +
      '<foreignObject width="40" height="20"><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject></svg>';
    await give('drop', 'a.svg', 'image/svg+xml', Buffer.from(svg));
    const { left, notes } = await attached();
    assert.deepEqual(left, [255, 0, 0, 255]);
    assert.match(notes.join(), /HTML are not shown/);
  });

  it('larger than a message holds are shrunk, and say so', async () => {
    await give('drop', 'wide.png', 'image/png', twoColours(5000, 4000));
    const { width, height, notes, left, right } = await attached();
    assert.ok(width * height <= 16_000_000 && width > 4000, `${width} x ${height}`);
    assert.match(notes.join(), /Shrunk from 5,000 × 4,000 pixels/);
    assert.deepEqual(
      [left, right],
      [
        [255, 0, 0, 255],
        [0, 0, 255, 255],
      ],
    );
  });

  let drawings = 0;
  /** Has the page draw a source as the host asks it to. */
  async function draw(language: DiagramLanguage, source: string): Promise<void> {
    await page.receive({ type: 'draw', key: `drawing-${++drawings}`, name: 'plan', language, source });
  }

  async function hasColour(colour: readonly number[]): Promise<boolean> {
    return page.page.evaluate((wanted) => {
      const { sentToHost } = globalThis as unknown as PageGlobals;
      const sent = sentToHost.find(({ request }) => request?.type === 'attach-picture')?.request?.picture;
      const pixels = new Uint32Array(sent?.rgba ?? new ArrayBuffer(0));
      return pixels.includes(new Uint32Array(Uint8Array.from(wanted).buffer)[0]!);
    }, colour);
  }

  const SOURCES: Readonly<
    Record<DiagramLanguage, { readonly red: readonly string[]; readonly wrong: string }>
  > = {
    mermaid: {
      red: [
        'graph TD\n  A[Start] --> B{Done?}\n  style A fill:#ff0000',
        'stateDiagram-v2\n  [*] --> A\n  classDef red fill:#ff0000\n  class A red',
      ],
      wrong: 'graph TD\n  A --> ->',
    },
    plantuml: {
      red: [
        '@startuml\nparticipant Alice #ff0000\nAlice -> Bob : Hello\n@enduml',
        '@startuml\nclass Animal #ff0000\nAnimal <|-- Duck\n@enduml',
      ],
      wrong: '@startuml\n!include http://localhost/x.puml\n@enduml',
    },
    drawio: {
      red: [
        '<mxGraphModel><root><mxCell id="0"/><mxCell id="1" parent="0" vertex="1" style="fillColor=#ff0000;"><mxGeometry width="80" height="40" as="geometry"/></mxCell></root></mxGraphModel>',
      ],
      wrong: '<mxGraphModel><root>',
    },
  };
  for (const language of ['mermaid', 'plantuml', 'drawio'] as const) {
    it(`are drawn from sources in ${language}, or refused with its reason`, async () => {
      const { red, wrong } = SOURCES[language];
      for (const source of red) {
        await draw(language, source);
        const { width, height } = await attached();
        assert.equal(Math.max(width, height), 1792);
        assert.ok(await hasColour([255, 0, 0, 255]), `a shape of ${source} is filled with red`);
        await page.requests();
      }
      await draw(language, wrong);
      assert.match(await problem(), /“plan” could not be drawn \(.{10,}\)/);
      assert.deepEqual(
        (await page.requests()).map(({ type }) => type),
        ['picture-refused'],
      );
    });
  }

  it('are drawn from a source that tries to run and load things without either', async () => {
    const before = page.leaked.length;
    const link = `click A href "javascript:window.ran=1"\n  B["<img src='${page.worldOrigin}/a' onerror='window.ran=1'>"]`;
    const settings = '%%{init: {"securityLevel": "loose", "htmlLabels": true, "themeCSS": "x"}}%%';
    await draw('mermaid', `${settings}\ngraph TD\n  A --> B\n  ${link}`);
    await attached();
    await page.requests();
    await draw('plantuml', `@startuml\nA -> B : <img:${page.worldOrigin}/b.png>\n@enduml`);
    await attached();
    assert.equal(page.leaked.length, before);
    assert.equal(await page.page.evaluate(() => Reflect.get(globalThis, 'ran')), undefined);
    assert.equal(
      await page.page.locator('body > *:not(gemma-chat, script)').count(),
      0,
      'nothing is left behind',
    );
  });

  it('whose question has to wait leave it in the input, and never over what is written there', async () => {
    await page.receive({ type: 'draft', question: 'Explain this image.' });
    assert.equal(await page.get('input').inputValue(), 'Explain this image.');
    await page.receive({ type: 'draft', question: 'Explain the diagram.' });
    assert.equal(await page.get('input').inputValue(), 'Explain this image.');
  });

  for (const [what, name, file, sentence] of [
    ['empty', 'a.png', Buffer.alloc(0), /“a.png” is empty/],
    ['not a picture', 'notes.txt', Buffer.from('hello'), /“notes.txt” is not a picture/],
    ['cut short', 'a.png', twoColours(400, 200).subarray(0, 200), /“a.png” is damaged or incomplete/],
    [
      'enormous',
      'a.png',
      png(4, 4, () => [0, 0, 0, 0], { width: 30_000, height: 30_000 }),
      /30,000 × 30,000/,
    ],
    ['one pixel', 'a.png', twoColours(1, 1), /too few to show anything/],
    ['an entity bomb', 'a.svg', Buffer.from(ENTITY_BOMB), /declares XML entities/],
    [
      'named like markup',
      '<img src=x onerror=ran=1>.png',
      Buffer.from('x'),
      /“<img src=x onerror=ran=1>.png” is not/,
    ],
  ] as const) {
    it(`that are ${what} are refused with a sentence, and the question stays`, async () => {
      await page.get('input').fill('What is this?');
      await give('drop', name, 'image/png', file);
      assert.match(await problem(), sentence);
      assert.equal(await page.get('input').inputValue(), 'What is this?');
      assert.deepEqual(await page.requests(), []);
      assert.equal(await page.page.evaluate(() => Reflect.get(globalThis, 'ran')), undefined);
      await page.page.getByRole('button', { name: 'Dismiss the message' }).click();
      assert.equal(await page.get('picture-problem').count(), 0);
    });
  }

  it('say how they are coming along, what they cost, and can be taken off', async () => {
    const encoding = {
      state: 'encoding',
      layer: 9,
      layers: 27,
      image: 1,
      images: 1,
      secondsLeft: 6,
    } as const;
    await page.receive({ type: 'state', state: { ...READY, pictures: [{ ...PICTURE, encoding }] } });
    assert.equal(await page.get('picture-state').textContent(), 'Layer 9 of 27, 0:06 left');
    assert.equal(await page.page.getByRole('progressbar').getAttribute('aria-valuenow'), '33');
    const offer = { crops: 2, tokens: 520, seconds: 12, advised: true };
    await page.receive({ type: 'event', event: { type: 'picture-changed', picture: { ...PICTURE, offer } } });
    assert.equal(await page.get('picture-state').textContent(), '260 tokens');
    assert.equal(await page.get('announcement').textContent(), 'board.png is ready.');
    assert.match(
      (await page.get('picture').textContent()) ?? '',
      /its text is small\): 2 parts, 520 more tokens, about 0:12/,
    );
    await page.get('read-details').check();
    await page.get('remove-picture').click();
    assert.ok(await page.get('input').evaluate((input) => input.matches(':focus')));
    assert.deepEqual(await page.requests(), [
      { type: 'read-details', key: PICTURE.key, details: true },
      { type: 'remove-picture', key: PICTURE.key },
    ]);
  });

  it('that came last are in view where there are many', async () => {
    const pictures = Array.from({ length: 8 }, (_, index) => ({ ...PICTURE, key: `picture-${index}` }));
    await page.receive({ type: 'state', state: { ...READY, pictures } });
    await give('drop', 'notes.txt', 'image/png', Buffer.from('hello'));
    await problem();
    const [list, last] = [
      page.page.getByRole('list', { name: 'Pictures sent' }),
      page.get('picture-problem'),
    ];
    const [frame, box] = [(await list.boundingBox())!, (await last.boundingBox())!];
    assert.ok(box.y + box.height <= frame.y + frame.height + 1, JSON.stringify([frame, box]));
    assert.ok(box.y >= frame.y);
  });

  it('that cannot be sent keep their question from being sent', async () => {
    const encoding = { state: 'failed', message: 'This model has no image tower.' } as const;
    await page.receive({ type: 'state', state: { ...READY, pictures: [{ ...PICTURE, encoding }] } });
    await page.get('input').fill('What is this?');
    await page.get('input').press('Enter');
    assert.deepEqual(await page.requests(), []);
    assert.equal(await page.get('input').inputValue(), 'What is this?');
    assert.match((await page.page.locator('.notice').textContent()) ?? '', /“board.png” cannot be sent/);
  });

  it('are explained when nothing else is asked', async () => {
    await page.receive({ type: 'state', state: { ...READY, pictures: [PICTURE] } });
    await page.get('send').click();
    assert.deepEqual(await page.requests(), [{ type: 'ask', question: 'Explain this image.' }]);
  });

  it('are told apart from what a model without a tower can do', async () => {
    const images = { available: false, reason: 'Gemma 3 1B has no image tower. Choose a 4B model.' };
    const status = { state: 'ready', images } as const;
    await page.receive({ type: 'state', state: { ...READY, status } });
    assert.equal(await page.get('notice').count(), 0);
    await page.receive({ type: 'state', state: { ...READY, status, pictures: [PICTURE] } });
    assert.match((await page.get('notice').textContent()) ?? '', /has no image tower/);
  });

  describe('can be sent in part', () => {
    async function openDialog(): Promise<void> {
      await page.receive({ type: 'state', state: { ...READY, pictures: [PICTURE] } });
      await page.get('choose-region').click();
      assert.deepEqual(await page.requests(), [{ type: 'view-picture', key: PICTURE.key }]);
      await page.page.evaluate((key) => {
        const rgba = new Uint8Array(400 * 200 * 4).fill(255).buffer;
        const data = { type: 'pixels', key, width: 400, height: 200, rgba };
        (globalThis as unknown as PageGlobals).dispatchEvent(new MessageEvent('message', { data }));
      }, PICTURE.key);
      await page.get('region-stage').waitFor();
    }

    async function chosenRegion(how: 'click' | 'Enter'): Promise<unknown> {
      if (how === 'click') await page.get('use-region').click();
      else await page.page.keyboard.press('Enter');
      const handle = await page.page.waitForFunction(() => {
        const { sentToHost } = globalThis as unknown as PageGlobals;
        return sentToHost.find(({ request }) => request?.type === 'choose-region')?.request ?? null;
      });
      return handle.evaluate((request) => request?.region);
    }

    it('by the keyboard', async () => {
      await openDialog();
      for (let i = 0; i < 10; i++) await page.page.keyboard.press('Shift+ArrowLeft');
      for (let i = 0; i < 5; i++) await page.page.keyboard.press('ArrowRight');
      await page.page.keyboard.press('Shift+ArrowUp');
      assert.deepEqual(await chosenRegion('Enter'), { x: 40, y: 0, width: 320, height: 196 });
    });

    it('by the pointer', async () => {
      await openDialog();
      const box = (await page.page.locator('gemma-region-dialog canvas').boundingBox())!;
      await page.page.mouse.move(box.x + box.width / 4, box.y + box.height / 4);
      await page.page.mouse.down();
      await page.page.mouse.move(box.x + box.width * 0.75, box.y + box.height * 0.75);
      await page.page.mouse.up();
      const region = (await chosenRegion('click')) as { x: number; y: number; width: number; height: number };
      // The pointer moves in whole pixels of the screen.
      for (const [value, wanted] of [
        [region.x, 100],
        [region.y, 50],
        [region.width, 200],
        [region.height, 100],
      ] as const)
        assert.ok(Math.abs(value - wanted) <= 3, JSON.stringify(region));
    });

    it('or not, with Escape', async () => {
      await openDialog();
      await page.page.keyboard.press('Escape');
      await page.get('region-stage').waitFor({ state: 'detached' });
      assert.deepEqual(await page.requests(), []);
      assert.ok(await page.get('input').evaluate((input) => input.matches(':focus')));
    });
  });
});
