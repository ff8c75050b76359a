import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { CostPreview } from '../../sidecar/protocol/context-types.ts';
import type { HostMessage } from '../../webview/messages.ts';
import { type ChatState, INITIAL_STATE, type ModelMessage, type UserMessage } from '../../webview/state.ts';
import { hostileMarkdown } from './hostile-markdown.ts';
import { CHROMIUM, PageInBrowser } from './page-in-browser.ts';

const QUESTION: UserMessage = { role: 'user', text: 'Where is total?' };
const READY: ChatState = {
  ...INITIAL_STATE,
  sidecar: { state: 'running' },
  workspace: { folder: 'shop', trusted: true },
};

const FREE_PREVIEW: CostPreview = {
  promptTokens: 90,
  contextLength: 8192,
  reserved: 1024,
  cachedInMemory: 80,
  cachedOnDisk: 0,
  toRead: 10,
  unknownMentions: [],
  files: 1,
};

function answer(text: string, end: ModelMessage['end'] = 'complete'): ModelMessage {
  return { role: 'model', requestId: 'r', text, end };
}

function showing(...messages: ChatState['messages']): HostMessage {
  return { type: 'state', state: { ...READY, messages } };
}

/** What of a document the policy test needs; the tests' own compilation knows Node only. */
interface PageDocument {
  readonly body: { append(element: PageElement): void };
  createElement(name: string): PageElement;
  addEventListener(type: string, listener: (event: { readonly effectiveDirective: string }) => void): void;
}
interface PageElement {
  textContent: string;
  setAttribute(name: string, value: string): void;
}

const skip = existsSync(CHROMIUM) ? false : 'Chromium is not installed';

describe('the chat page', { skip }, () => {
  let page: PageInBrowser;
  before(async () => {
    page = await PageInBrowser.open();
  });
  after(() => page?.close());

  describe('takes a question', () => {
    it('with Enter, not with Shift+Enter', async () => {
      await page.receive({ type: 'state', state: READY });
      const input = page.get('input');
      await input.fill('First');
      await input.press('Shift+Enter');
      await input.pressSequentially('second');
      assert.deepEqual(await page.requests(), []);
      await input.press('Enter');
      assert.deepEqual(await page.requests(), [{ type: 'ask', question: 'First\nsecond' }]);
      assert.equal(await input.inputValue(), '');
    });

    it('with the selections that go along, until they are taken off', async () => {
      const attachment = { path: 'src/price.ts', startLine: 10, endLine: 14, text: 'x' };
      await page.receive({ type: 'state', state: { ...READY, attachments: [attachment] } });
      assert.equal((await page.get('attachment').textContent())?.trim(), 'price.ts:10-14');
      await page.get('detach').click();
      assert.deepEqual(await page.requests(), [{ type: 'detach', place: 'src/price.ts:10-14' }]);
      await page.receive({ type: 'event', event: { type: 'detached', place: 'src/price.ts:10-14' } });
      assert.equal(await page.get('attachment').count(), 0);
      await page.receive(showing({ ...QUESTION, attachments: [attachment] }, answer('Here.')));
      assert.equal(await page.get('detach').count(), 0);
      await page.get('attachment').getByRole('button').click();
      assert.deepEqual(await page.requests(), [
        { type: 'open-file', path: 'src/price.ts', line: 10, endLine: 14 },
      ]);
    });

    it('with mentions, chosen from a list by the keyboard', async () => {
      await page.receive({ type: 'state', state: READY });
      const input = page.get('input');
      await input.fill('Explain ');
      await input.pressSequentially('@ca');
      assert.deepEqual((await page.requests()).at(-1), { type: 'complete-mention', query: 'ca' });
      const mentions = [
        { kind: 'file', insert: '@src/cart.ts', label: 'src/cart.ts', path: 'src/cart.ts', matches: [4, 5] },
        { kind: 'problems', insert: '@problems', label: 'problems', matches: [] },
      ] as const;
      await page.receive({ type: 'mentions', query: 'c', mentions });
      assert.equal(await page.get('mentions').count(), 0, 'late mentions of an older query');
      await page.receive({ type: 'mentions', query: 'ca', mentions });
      const selected = page.page.getByRole('option', { selected: true });
      assert.equal((await selected.textContent())?.trim(), 'src/cart.ts');
      await input.press('Enter');
      assert.equal(await input.inputValue(), 'Explain @src/cart.ts ');
      assert.deepEqual(await page.requests(), []);
      await input.pressSequentially('@p');
      await page.receive({ type: 'mentions', query: 'p', mentions });
      const preview = { ...FREE_PREVIEW, unknownMentions: ['@p'] };
      await page.receive({ type: 'event', event: { type: 'previewed', preview } });
      assert.doesNotMatch((await page.get('cost').textContent()) ?? '', /not in this workspace/);
      await input.press('ArrowDown');
      assert.equal(await page.get('mention-status').textContent(), 'problems, 2 of 2');
      await input.press('Tab');
      assert.deepEqual((await page.requests()).at(-1), { type: 'attach-mention', kind: 'problems' });
      await input.pressSequentially('@');
      await page.receive({ type: 'mentions', query: '', mentions });
      await input.press('Escape');
      assert.equal(await page.get('mentions').count(), 0);
      assert.equal(await input.inputValue(), 'Explain @src/cart.ts @problems @');
      await page.requests();
      await input.fill('');
    });

    it('and says beforehand what it costs, or what could be dropped', async () => {
      await page.receive({ type: 'state', state: READY });
      await page.get('input').fill('Why?');
      await page.page.waitForFunction(() =>
        (globalThis as unknown as { sentToHost: { request?: { type: string } }[] }).sentToHost.some(
          ({ request }) => request?.type === 'preview',
        ),
      );
      assert.deepEqual(await page.allRequests(), [{ type: 'preview', question: 'Why?' }]);
      const preview = {
        promptTokens: 93_400,
        contextLength: 131_072,
        reserved: 1024,
        cachedInMemory: 81_000,
        cachedOnDisk: 0,
        toRead: 12_400,
        seconds: 35,
        unknownMentions: [],
        files: 412,
      };
      await page.receive({
        type: 'event',
        event: { type: 'previewed', preview: { ...preview, unknownMentions: ['@carts'] } },
      });
      assert.match((await page.get('cost').textContent()) ?? '', /@carts: not in this workspace/);
      await page.receive({
        type: 'event',
        event: { type: 'previewed', preview: { ...preview, forgottenTurns: 4, reason: 'It depends.' } },
      });
      assert.match((await page.get('cost').textContent()) ?? '', /the first 4 messages no longer fit/);
      assert.equal(await page.get('cost').getAttribute('title'), 'It depends.');
      await page.receive({ type: 'event', event: { type: 'previewed', preview } });
      const cost = ((await page.get('cost').textContent()) ?? '').trim();
      assert.equal(cost, '12,400 tokens to read, 81,000 kept, about 0:35');
      const offers = [
        { kind: 'turns', name: '4', tokens: 900 },
        { kind: 'attachment', name: 'src/a.ts:1-90', tokens: 700 },
      ] as const;
      const overLong = { needed: 9000, available: 8000, offers };
      await page.receive({ type: 'event', event: { type: 'previewed', preview: { ...preview, overLong } } });
      assert.match(
        (await page.get('over-long').textContent()) ?? '',
        /takes 9,000 tokens, and 8,000 are there, 1,000 too few/,
      );
      await page.page.getByRole('button', { name: 'Forget the first 4 turns (900 tokens)' }).click();
      assert.deepEqual(await page.requests(), [{ type: 'drop', kind: 'turns', name: '4' }]);
      await page.get('input').fill('');
    });

    it('from an example, by a click', async () => {
      await page.receive({ type: 'state', state: READY });
      await page.get('example').first().click();
      assert.equal((await page.requests())[0]?.type, 'ask');
    });

    it('and not another one while it answers; Esc and the button stop', async () => {
      await page.receive(showing(QUESTION, answer('In', 'streaming')));
      await page.get('input').fill('Next');
      await page.get('input').press('Enter');
      assert.equal(await page.get('send').count(), 0);
      await page.get('input').press('Escape');
      await page.get('stop').click();
      assert.deepEqual(await page.requests(), [{ type: 'stop' }, { type: 'stop' }]);
      assert.equal(await page.get('input').inputValue(), 'Next');
    });
  });

  describe('shows an answer', () => {
    it('as it streams, and says so once at its start and its end', async () => {
      await page.receive(showing(QUESTION, answer('', 'streaming')));
      assert.equal(await page.get('state').getAttribute('data-state'), 'reading');
      for (const text of ['In ', '**src', '/cart.ts:3', '**.']) {
        await page.receive({ type: 'event', event: { type: 'streamed', requestId: 'r', text } });
        assert.equal(await page.get('announcement').textContent(), 'The answer begins.');
      }
      assert.equal(await page.get('state').getAttribute('data-state'), 'streaming');
      assert.equal(await page.page.locator('gemma-prose strong').textContent(), 'src/cart.ts:3');
      await page.receive({ type: 'event', event: { type: 'stopped', requestId: 'r' } });
      assert.equal(await page.get('announcement').textContent(), 'The answer was stopped.');
    });

    it('with a line for each line of the model', async () => {
      await page.receive(showing(QUESTION, answer('Flowchart:\nfile -> size\nsize -> list')));
      const prose = page.page.locator('gemma-answer .prose p');
      assert.equal(await prose.locator('br').count(), 2);
      assert.equal(await prose.count(), 1);
    });

    it('without drawing again what has not changed', async () => {
      await page.receive(showing(QUESTION, answer('One.\n\nTwo.\n\nThree.\n\nFour', 'streaming')));
      await page.page
        .locator('gemma-prose p')
        .first()
        .evaluate((first) => first.setAttribute('data-kept', ''));
      await page.receive({ type: 'event', event: { type: 'streamed', requestId: 'r', text: ' more' } });
      assert.equal(await page.page.locator('gemma-prose p[data-kept]').count(), 1);
      assert.equal(await page.page.locator('gemma-prose p').last().textContent(), 'Four more');
    });

    it('with places that open, links that are asked about, and code that is copied as it is', async () => {
      const text =
        'See src/cart.ts:3-5 and [docs](https://example.com/a?b=c).\n\n```ts\nconst a = "<b>";\n```\n';
      await page.receive(showing(QUESTION, answer(text)));
      await page.get('citation').click();
      await page.page.getByRole('link', { name: 'docs' }).click();
      await page.get('copy-code').click();
      await page.get('insert-code').click();
      assert.deepEqual(await page.requests(), [
        { type: 'open-file', path: 'src/cart.ts', line: 3, endLine: 5 },
        { type: 'open-link', url: 'https://example.com/a?b=c' },
        { type: 'copy', text: 'const a = "<b>";\n' },
        { type: 'insert', text: 'const a = "<b>";\n' },
      ]);
      assert.equal(
        await page.page.getByRole('link', { name: 'docs' }).getAttribute('title'),
        'https://example.com/a?b=c',
      );
    });

    it('to the keyboard: arrows go from message to message', async () => {
      await page.receive(showing(QUESTION, answer('One.')));
      await page.page.getByRole('listitem', { name: 'Gemma' }).focus();
      await page.page.keyboard.press('ArrowUp');
      assert.ok(
        await page.page.getByRole('listitem', { name: 'You' }).evaluate((item) => item.matches(':focus')),
      );
    });

    it('or why there is none, with what to do', async () => {
      const failure = { message: 'No memory.', fixes: ['open-settings'] } as const;
      await page.receive(showing(QUESTION, { ...answer('', 'failed'), failure }));
      assert.equal(await page.get('state').getAttribute('data-state'), 'error');
      assert.match((await page.get('failure').textContent()) ?? '', /No memory\./);
      await page.page.getByRole('button', { name: 'Open settings' }).click();
      assert.deepEqual(await page.requests(), [{ type: 'fix', action: 'open-settings' }]);
    });
  });

  it('says what the built-in model is worth, and offers a real one', async () => {
    const model = {
      name: 'Built-in',
      path: '/models/built-in.gguf',
      builtIn: true,
      parameters: 3.4e6,
      fileBytes: 2.4e6,
      contextLength: 2048,
      quantisation: 'Q4_0',
    };
    await page.receive({ type: 'state', state: { ...READY, status: { state: 'ready', model } } });
    assert.match((await page.get('built-in-note').textContent()) ?? '', /answers are often wrong/);
    await page.page.getByRole('button', { name: 'Choose a Gemma 3 file' }).click();
    assert.deepEqual(await page.requests(), [{ type: 'fix', action: 'choose-model' }]);
    const picture = {
      ...{ key: 'picture-1', name: 'a.png', width: 4, height: 4, details: false, notes: [] },
      encoding: { state: 'waiting' },
    } as const;
    const images = { available: true };
    assert.doesNotMatch((await page.get('built-in-note').textContent()) ?? '', /drawings/);
    await page.receive({
      type: 'state',
      state: { ...READY, status: { state: 'ready', model, images }, pictures: [picture] },
    });
    assert.match((await page.get('built-in-note').textContent()) ?? '', /reads only simple drawings/);
    const real = { ...model, builtIn: false };
    await page.receive({ type: 'state', state: { ...READY, status: { state: 'ready', model: real } } });
    assert.equal(await page.get('built-in-note').count(), 0);
  });

  it('opens the meter to numbers and to the files left out', async () => {
    const tokenUse = { contextLength: 8192, repository: 4000, conversation: 96, reserved: 1024 };
    const promptUse = {
      tokenUse,
      fileCount: 2,
      files: [],
      leftOut: [{ path: 'a.png', reason: 'binary' }],
    } as const;
    await page.receive({ type: 'state', state: { ...READY, promptUse } });
    assert.match((await page.get('meter').getAttribute('title')) ?? '', /Free: 3,072 tokens/);
    await page.get('meter').click();
    await page.get('left-out').locator('summary').click();
    assert.match(
      (await page.get('left-out').textContent()) ?? '',
      /2 files read, 1 left out\s+a\.png\s+binary/,
    );
    await page.page.keyboard.press('Escape');
    assert.equal(await page.get('left-out').count(), 0);
    assert.ok(await page.get('meter').evaluate((meter) => meter.matches(':focus')));
    await page.page.keyboard.press('Enter');
    await page.page.keyboard.press('Tab');
    assert.ok(
      await page.page.getByRole('button', { name: 'Close' }).evaluate((close) => close.matches(':focus')),
    );
    await page.page.keyboard.press('Escape');
    assert.equal(await page.get('left-out').count(), 0);
  });

  it('fits the narrowest side bar, and an input that grows with it', async () => {
    const tokenUse = { contextLength: 8192, repository: 4000, conversation: 96, reserved: 1024 };
    const promptUse = { tokenUse, fileCount: 2, files: [], leftOut: [] };
    await page.receive({ type: 'state', state: { ...READY, promptUse } });
    const input = page.get('input');
    await input.fill(
      'A question of so many words that it takes more lines in a narrow view than in a wide one',
    );
    const wide = (await input.boundingBox())!;
    await page.page.setViewportSize({ width: 170, height: 800 });
    const narrow = (await input.boundingBox())!;
    assert.ok(narrow.height > wide.height, `${narrow.height} after ${wide.height}`);
    const button = (await page.get('send').boundingBox())!;
    assert.ok(button.x + button.width <= narrow.x + narrow.width, JSON.stringify([button, narrow]));
    await page.page.setViewportSize({ width: 420, height: 800 });
    assert.equal((await input.boundingBox())!.height, wide.height);
    await input.fill('');
  });

  it('keeps an unsent question over a reload', async () => {
    await page.get('input').fill('Half a question');
    await page.page.reload();
    assert.equal(await page.get('input').inputValue(), 'Half a question');
    await page.get('input').fill('');
  });

  it('is held by its policy even if the sanitiser let something through', async () => {
    const before = page.leaked.length;
    const blocked = await page.page.evaluate(async (world) => {
      const { document } = globalThis as unknown as { document: PageDocument };
      const blocked: string[] = [];
      document.addEventListener('securitypolicyviolation', (event) => blocked.push(event.effectiveDirective));
      const add = (name: string, attributes: Record<string, string>, text = '') => {
        const element = document.createElement(name);
        for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
        element.textContent = text;
        document.body.append(element);
      };
      add('img', { src: `${world}/a.png` });
      add('script', {}, 'window.ran = 1');
      add('link', { rel: 'stylesheet', href: `${world}/a.css` });
      add('style', {}, 'body { color: red }');
      add('iframe', { src: `${world}/frame` });
      await fetch(`${world}/fetch`).catch(() => {});
      await new Promise((done) => setTimeout(done, 200));
      return blocked;
    }, page.worldOrigin);
    assert.deepEqual(
      new Set(blocked),
      new Set(['img-src', 'script-src-elem', 'style-src-elem', 'frame-src', 'connect-src']),
    );
    assert.equal(page.leaked.length, before);
    await page.page.reload();
  });

  it('sends nothing and runs nothing, whatever the model writes', async () => {
    const payloads = hostileMarkdown(page.worldOrigin);
    assert.ok(payloads.length >= 200, `only ${payloads.length} payloads`);
    await page.requests();
    const streamed = payloads.flatMap((text): HostMessage[][] => {
      const half = Math.floor(text.length / 2);
      const parts = [text.slice(0, half), text.slice(half)];
      return [
        [showing({ role: 'user', text }, answer('', 'streaming'))],
        ...parts.map((part): HostMessage[] => [
          { type: 'event', event: { type: 'streamed', requestId: 'r', text: part } },
        ]),
      ];
    });
    await page.receiveInSteps(streamed);
    // All at once, as a restored conversation.
    await page.receive(showing(...payloads.flatMap((text) => [QUESTION, answer(text)])));
    assert.equal(await page.page.locator('gemma-answer').count(), payloads.length);
    // The control shows that a request would have been seen.
    await fetch(`${page.worldOrigin}/control`);
    assert.deepEqual(page.leaked, ['/control']);
    assert.deepEqual(await page.requests(), []);
    assert.equal(await page.page.evaluate(() => Reflect.get(globalThis, 'ran')), undefined);
    assert.equal(
      await page.page.locator('gemma-chat :is(a, img, iframe, form, input, object, link, style)').count(),
      0,
    );
  });
});
