import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { ContextNode } from '../../sidecar/protocol/context-types.ts';
import {
  folderAt,
  folderTrail,
  inWindow,
  isMostlyLeftOut,
  nodeWords,
  tilesOf,
  totalTokens,
  windowParts,
} from '../../webview/context-tiles.ts';
import { REPORT, ROOT } from './context-report.ts';
import { CHROMIUM, PageInBrowser } from './page-in-browser.ts';

const AREA = { x: 0, y: 0, width: 800, height: 420 };

describe('the tiles of a context', () => {
  it('show every file that is large enough to be seen, inside the frames of its folders', () => {
    const tiles = tilesOf(ROOT, AREA);
    const paths = tiles.filter(({ node }) => node.kind === 'file').map(({ node }) => node.path);
    assert.equal(paths.length, 10);
    const frame = tiles.find(({ node }) => node.path === 'src/cart')!;
    const inner = tiles.find(({ node }) => node.path === 'src/cart/cart.ts')!;
    assert.ok(frame.isFrame && inner.depth === frame.depth + 1);
    assert.ok(inner.box.x >= frame.box.x && inner.box.y >= frame.box.y + 16);
    assert.ok(inner.box.x + inner.box.width <= frame.box.x + frame.box.width);
  });

  it('stay few in a workspace of 100,000 files', () => {
    const many: ContextNode[] = Array.from({ length: 100_000 }, (_, i) => ({
      ...ROOT.children![2]!,
      path: `f${i}`,
    }));
    assert.ok(tilesOf({ ...ROOT, children: many }, AREA).length <= 3_000);
  });

  it('can be only of what is in the window, and are where the rest would hide it', () => {
    const shown = tilesOf(inWindow(ROOT), AREA).map(({ node }) => node);
    assert.deepEqual(
      ['test/price.test.ts', 'package-lock.json', 'src/price/price.ts']
        .map((path) => shown.find((node) => node.path === path))
        .map((node) => node && totalTokens(node)),
      [undefined, undefined, 1800],
    );
    assert.equal(isMostlyLeftOut(ROOT), false);
    assert.equal(isMostlyLeftOut({ ...ROOT, tokens: { ...ROOT.tokens, 'left-out': 60_000 } }), true);
  });

  it('are found by folder', () => {
    assert.equal(folderAt(ROOT, 'src/price').path, 'src/price');
    assert.equal(folderAt(ROOT, 'src/gone').path, 'src');
    assert.deepEqual(
      folderTrail(ROOT, 'src/price').map(({ path }) => path),
      ['', 'src', 'src/price'],
    );
  });

  it('say in words what they show', () => {
    const words = (path: string) =>
      nodeWords(tilesOf(ROOT, AREA).find(({ node }) => node.path === path)!.node);
    assert.equal(
      words('src/price/price.ts'),
      'src/price/price.ts: 2,400 tokens; read and kept 1,800, left out 600 (did not fit)',
    );
    assert.equal(words('src/index.ts'), 'src/index.ts (pinned): 400 tokens; read and kept');
    assert.equal(
      words('test'),
      'test: 9 files, 2,640 tokens; read and kept 240, definitions only 1,100, left out 1,300',
    );
  });

  it('and the parts of the window add up to its length', () => {
    const sum = windowParts(REPORT).reduce((total, { tokens }) => total + tokens, 0);
    assert.equal(sum, REPORT.contextLength);
    assert.equal(totalTokens(ROOT), 13_840);
  });
});

const skip = existsSync(CHROMIUM) ? false : 'Chromium is not installed';

describe('the context panel', { skip }, () => {
  let page: PageInBrowser;
  before(async () => {
    page = await PageInBrowser.open('context');
    await page.page.setViewportSize({ width: 1000, height: 900 });
  });
  after(() => page?.close());
  beforeEach(async () => {
    await page.receive({ type: 'report', report: REPORT, choice: { pinned: ['src/index.ts'], dropped: [] } });
    await page.messages();
  });

  const tile = (path: string) => page.page.locator(`[data-testid="tile"][data-path="${path}"]`);

  it('asks for a report when it is drawn', async () => {
    await page.page.reload();
    assert.deepEqual(await page.messages(), [{ type: 'ready' }]);
    assert.equal(await page.get('map').count(), 0);
  });

  it('draws a file where it lies, pins and drops it', async () => {
    await tile('src/cart/discount.ts').click();
    assert.match((await page.get('details').textContent()) ?? '', /discount\.ts: 900 tokens; to be read/);
    await page.get('pin').click();
    await page.get('drop').click();
    await tile('src/index.ts').click();
    assert.match((await page.get('pin').textContent()) ?? '', /Unpin/);
    await page.get('pin').click();
    assert.deepEqual(await page.messages(), [
      { type: 'choose', path: 'src/cart/discount.ts', choice: 'pinned' },
      { type: 'choose', path: 'src/cart/discount.ts', choice: 'dropped' },
      { type: 'choose', path: 'src/index.ts', choice: null },
    ]);
  });

  it('goes by the keyboard: arrows, Enter into a folder or file, Backspace out', async () => {
    await tile('src').focus();
    await page.page.keyboard.press('Enter');
    assert.equal(await tile('test/cart.test.ts').count(), 0);
    await tile('src/cart').focus();
    await page.page.keyboard.press('ArrowRight');
    await page.page.keyboard.press('Enter');
    assert.deepEqual(await page.messages(), [{ type: 'open-file', path: 'src/cart/cart.ts' }]);
    await page.page.keyboard.press('Backspace');
    assert.equal(await tile('test/cart.test.ts').count(), 1);
  });

  it('hides what is left out and shows it again', async () => {
    const button = page.get('hide-left-out');
    assert.equal(await button.getAttribute('aria-pressed'), 'false');
    await button.click();
    assert.equal(await tile('package-lock.json').count(), 0);
    assert.equal(await tile('src/price/price.ts').count(), 1);
    await button.click();
    assert.equal(await tile('package-lock.json').count(), 1);
  });

  it('says the same in a table', async () => {
    await page.get('as-table').click();
    const rows = await page.get('table').locator('tbody tr').allTextContents();
    const words = rows.map((row) => row.replaceAll(/\s+/g, ' ').trim());
    assert.equal(words.length, 4);
    assert.match(words[0]!, /^src 7,900 /);
    assert.match(words[2]!, /^package-lock\.json 2,600 2,600 lock file Pin Drop$/);
    await page.get('table').getByRole('button', { name: 'test', exact: true }).click();
    assert.match((await page.get('table').textContent()) ?? '', /7 small files/);
    await page.get('as-table').click();
    await page.page.getByRole('button', { name: 'Workspace' }).click();
  });

  it('shows memory, disk and what has changed', async () => {
    assert.match(
      (await page.get('memory').textContent()) ?? '',
      /Global, 8 bit\s*96 MiB.*346 MiB of 480 MiB set aside/s,
    );
    assert.match((await page.get('disk').textContent()) ?? '', /1\.4 GiB.*at most 8\.0 GiB/s);
    assert.match((await page.get('journal').textContent()) ?? '', /discount\.ts\s*edited, 120 tokens/);
  });

  it('shows how far reading ahead is, between two reports', async () => {
    const line = page.get('reading-ahead');
    assert.match((await line.textContent()) ?? '', /1,300 of 2,400 tokens/);
    await page.receive({ type: 'reading-ahead', progress: { done: 1800, total: 2400 } });
    assert.match((await line.textContent()) ?? '', /1,800 of 2,400 tokens/);
  });

  it('says why there is no report', async () => {
    await page.receive({ type: 'problem', message: 'The sidecar cannot say.' });
    assert.match((await page.get('problem').textContent()) ?? '', /cannot say/);
  });

  it('takes names of files as text', async () => {
    const name = '<img src=x onerror=ran=1>';
    const root = { ...ROOT, children: [{ ...ROOT.children![2]!, name, path: name }] };
    await page.receive({ type: 'report', report: { ...REPORT, root }, choice: { pinned: [], dropped: [] } });
    await page.page.locator('[data-testid="tile"]').click();
    await page.get('as-table').click();
    await page.get('as-table').click();
    assert.equal(await page.page.evaluate(() => Reflect.get(globalThis, 'ran')), undefined);
    assert.equal(await page.page.locator('gemma-context img').count(), 0);
  });
});
