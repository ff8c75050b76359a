/** What a person with a keyboard or a screen reader meets on our two pages, in every state that has something of its own. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { HostMessage } from '../../webview/messages.ts';
import type { Picture } from '../../webview/picture.ts';
import { type ChatState, INITIAL_STATE, type ModelMessage } from '../../webview/state.ts';
import { violations } from '../support/axe.ts';
import { REPORT } from './context-report.ts';
import { CHROMIUM, PageInBrowser } from './page-in-browser.ts';

const READY: ChatState = {
  ...INITIAL_STATE,
  sidecar: { state: 'running' },
  workspace: { folder: 'shop', trusted: true },
  status: {
    state: 'ready',
    model: { name: 'Built-in', path: '/m.gguf', builtIn: true, contextLength: 2048 },
  } as ChatState['status'],
};
const PICTURE: Picture = {
  key: 'picture-1',
  name: 'board.png',
  width: 400,
  height: 200,
  details: false,
  notes: ['Shrunk from 8,000 × 4,000 pixels before it is read.'],
  offer: { crops: 2, tokens: 520, seconds: 12, advised: true },
  encoding: { state: 'ready', imageId: 'id', tokens: 260 },
};
const ATTACHMENT = { path: 'src/price.ts', startLine: 1, endLine: 3, text: 'const a = 1;' };
const ANSWER: ModelMessage = {
  role: 'model',
  requestId: 'r',
  text: '# Total\n\n`total` is in src/price.ts:12.\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n```ts\nexport const total = 1;\n```\n\n- [x] one\n- two\n\n[A link](https://example.org)',
  end: 'complete',
  citedPaths: { 'src/price.ts': 'src/price.ts' },
  notes: ['Two files were not read.'],
  speed: { generatedTokens: 9, decodeTokensPerSecond: 30, prefillMs: 10, cachedTokens: 2, promptTokens: 90 },
};
const PROMPT_USE: ChatState['promptUse'] = {
  tokenUse: { contextLength: 2048, repository: 1200, conversation: 200, reserved: 256 },
  fileCount: 1,
  files: [],
  leftOut: [{ path: 'src/cart.ts', reason: 'budget', tokens: 900 }],
} as unknown as ChatState['promptUse'];

const skip = existsSync(CHROMIUM) ? false : 'Chromium is not installed';

// Colours are the editor's; the host tests look at contrast in its themes. A view of the editor is no page of its own.
const without = ['color-contrast', 'page-has-heading-one', 'region'];

describe('the chat page for everybody', { skip }, () => {
  let page: PageInBrowser;
  before(async () => {
    page = await PageInBrowser.open();
  });
  after(() => page?.close());

  const states: Readonly<Record<string, readonly HostMessage[]>> = {
    'a new chat': [{ type: 'state', state: READY }],
    'a chat without a folder': [
      { type: 'state', state: { ...READY, workspace: { folder: null, trusted: true } } },
    ],
    'an answer': [
      {
        type: 'state',
        state: {
          ...READY,
          messages: [
            { role: 'user', text: 'Where is total?', pictures: [PICTURE], attachments: [ATTACHMENT] },
            ANSWER,
          ],
          promptUse: PROMPT_USE,
        },
      },
    ],
    'an answer that is being read for': [
      {
        type: 'state',
        state: {
          ...READY,
          messages: [
            { role: 'user', text: 'Why?' },
            { role: 'model', requestId: 'r', text: '', end: 'streaming' },
          ],
          progress: { requestId: 'r', phase: 'reading', done: 20, total: 90 },
        },
      },
    ],
    'a failure': [
      {
        type: 'state',
        state: {
          ...READY,
          messages: [
            { role: 'user', text: 'Why?' },
            {
              role: 'model',
              requestId: 'r',
              text: '',
              end: 'failed',
              failure: { message: 'The model is too large.', fixes: ['choose-model', 'retry'] },
            },
          ],
          workspace: { folder: 'shop', trusted: false },
        },
      },
    ],
    'a question with pictures and selections': [
      {
        type: 'state',
        state: {
          ...READY,
          attachments: [ATTACHMENT],
          pictures: [
            PICTURE,
            {
              ...PICTURE,
              key: 'picture-2',
              encoding: { state: 'encoding', layer: 3, layers: 27, image: 1, images: 1 },
            },
            { ...PICTURE, key: 'picture-3', encoding: { state: 'failed', message: 'It is damaged.' } },
          ],
          overLong: {
            needed: 900,
            available: 800,
            offers: [{ kind: 'image', name: 'board.png', tokens: 260 }],
          },
        },
      },
    ],
  };
  for (const [what, messages] of Object.entries(states)) {
    it(`has names, roles and an order in ${what}`, async () => {
      await page.receive(...messages);
      assert.deepEqual(await violations(page.page, { without }), []);
    });
  }

  it('has them in the meter, the list of mentions and the choice of a part', async () => {
    await page.receive(...states['an answer']!);
    await page.get('meter').click();
    await page.get('left-out').waitFor();
    assert.deepEqual(await violations(page.page, { without }), []);
    await page.page.keyboard.press('Escape');

    await page.get('input').fill('@ca');
    const mentions = [
      { kind: 'file', insert: '@src/cart.ts', label: 'src/cart.ts', path: 'src/cart.ts', matches: [4, 5] },
    ] as const;
    await page.receive({ type: 'mentions', query: 'ca', mentions });
    await page.get('mentions').waitFor();
    assert.deepEqual(await violations(page.page, { without }), []);
    await page.get('input').fill('');

    await page.receive({ type: 'state', state: { ...READY, pictures: [PICTURE] } });
    await page.page.evaluate((key) => {
      const data = { type: 'pixels', key, width: 4, height: 2, rgba: new Uint8Array(32).buffer };
      const { dispatchEvent } = globalThis as unknown as { dispatchEvent(event: object): void };
      dispatchEvent(new MessageEvent('message', { data }));
    }, PICTURE.key);
    await page.get('region-stage').waitFor();
    assert.deepEqual(await violations(page.page, { without }), []);
    await page.page.keyboard.press('Escape');
    await page.get('region-stage').waitFor({ state: 'detached' });
  });

  it('is gone through by Tab in the order in which it is seen, and each stop has a name', async () => {
    await page.page.reload();
    const messages = [{ role: 'user', text: 'Why?' } as const, ANSWER];
    const pictures = [PICTURE];
    await page.receive({ type: 'state', state: { ...READY, messages, promptUse: PROMPT_USE, pictures } });
    await page.get('input').fill('How?');
    await page.page.getByRole('listitem', { name: 'Gemma' }).focus();
    const stops: string[] = [];
    for (let presses = 0; presses < 40; presses++) {
      await page.page.keyboard.press('Tab');
      const stop = await page.page.evaluate(focusedName);
      if (stop === null || stop === stops[0]) break;
      stops.push(stop);
    }
    assert.deepEqual(stops, [
      'button src/price.ts:12',
      'div Table',
      'button Copy code',
      'button Insert code at cursor',
      'pre export const total = 1;',
      'button A link',
      'button Copy answer',
      'button Answer again',
      'button Choose a Gemma 3 file',
      'button Choose the part of board.png to send',
      'input Read details (its text is small): 2 parts, 520 more tokens, about 0:12',
      'button Do not send board.png',
      'textarea Question',
      'button Attach pictures',
      'button Model: Built-in. Choose another',
      'button Context: 81 % of 2,048 tokens used',
      'button Send',
    ]);
  });
});

describe('the context panel for everybody', { skip }, () => {
  let page: PageInBrowser;
  before(async () => {
    page = await PageInBrowser.open('context');
    await page.page.setViewportSize({ width: 1000, height: 900 });
  });
  after(() => page?.close());

  it('has names, roles and an order, as a map and as a table', async () => {
    await page.receive({ type: 'report', report: REPORT, choice: { pinned: ['src/index.ts'], dropped: [] } });
    await page.get('map').waitFor();
    assert.deepEqual(await violations(page.page, { without }), []);
    await page.get('as-table').click();
    await page.get('table').waitFor();
    assert.deepEqual(await violations(page.page, { without }), []);
  });
});

/** Runs in the page: what has the keyboard, by role and name; null when that is none of the page. */
function focusedName(): string | null {
  interface Focusable {
    readonly shadowRoot: { readonly activeElement: Focusable | null } | null;
    readonly localName: string;
    readonly textContent: string;
    readonly labels?: ArrayLike<{ readonly textContent: string }>;
    getAttribute(name: string): string | null;
  }
  const { document } = globalThis as unknown as {
    document: { activeElement: Focusable | null; body: Focusable };
  };
  let focused = document.activeElement;
  while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  if (focused === null || focused === document.body) return null;
  const name =
    focused.getAttribute('aria-label') ??
    (focused.labels?.[0] ?? focused).textContent.trim().replace(/\s+/g, ' ');
  return `${focused.localName} ${name === '' ? (focused.getAttribute('title') ?? '') : name}`;
}
