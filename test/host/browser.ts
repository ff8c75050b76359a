import { existsSync } from 'node:fs';
import {
  type Browser,
  type BrowserContext,
  chromium,
  type Frame,
  type FrameLocator,
  type Locator,
  type Page,
} from 'playwright-core';

import { eventually } from './eventually.ts';

/** The workbench in a browser page of its own, and the gestures that the scenarios are written in. */
export class Workbench {
  readonly page: Page;
  readonly #browser: Browser;

  private constructor(browser: Browser, page: Page) {
    this.#browser = browser;
    this.page = page;
  }

  /** Starts a browser with empty storage; the page is blank until `open`. */
  static async launch(): Promise<Workbench> {
    // `scripts/setup.mjs` sets CHROMIUM to the browser that it found.
    const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
    if (!existsSync(executablePath)) {
      throw new Error(`No Chromium at ${executablePath}: install it, or set CHROMIUM to its path.`);
    }
    const browser = await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'].concat([
        '--disable-background-networking',
        '--disable-component-update',
      ]),
    });
    const context: BrowserContext = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    // Only against hanging: a busy machine takes its time to draw a large diagram.
    context.setDefaultTimeout(120_000);
    return new Workbench(browser, await context.newPage());
  }

  /** Opens `folder`, with the development extension in `extension` where one is named, and waits until it is drawn. */
  async open(origin: string, folder: string, payload: Readonly<Record<string, string>> = {}): Promise<void> {
    const url = new URL(origin);
    url.searchParams.set('folder', folder);
    const entries = Object.entries(payload);
    if (entries.length > 0) url.searchParams.set('payload', JSON.stringify(entries));
    await this.page.goto(url.href);
    await this.#drawn();
  }

  /** As the command Reload Window does. */
  async reload(): Promise<void> {
    await this.page.reload();
    await this.#drawn();
  }

  async #drawn(): Promise<void> {
    await this.page.locator('.monaco-workbench .statusbar-item').first().waitFor();
  }

  /** Runs a command from the palette by its full label; retries while extensions are still being scanned. */
  async command(label: string): Promise<void> {
    const deadline = Date.now() + 120_000;
    for (;;) {
      await this.page.keyboard.press('F1');
      const input = this.page.locator('.quick-input-widget input').first();
      const option = this.page.locator('.quick-input-list').getByRole('option', { name: label }).first();
      try {
        await input.fill(`>${label}`, { timeout: 2000 });
        await option.waitFor({ timeout: 1000 });
        await option.click({ timeout: 5000 });
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await this.page.keyboard.press('Escape');
      }
    }
  }

  /** Opens a file of the workspace by name and puts the cursor into it. */
  async openFile(name: string): Promise<void> {
    // A view that takes the focus meanwhile closes the list.
    for (let attempts = 10; ; attempts--) {
      try {
        await this.page.keyboard.press('Control+P');
        await this.page.locator('.quick-input-widget input').first().fill(name, { timeout: 2000 });
        const option = this.page.locator('.quick-input-list').getByRole('option', { name }).first();
        await option.click({ timeout: 3000 });
        break;
      } catch (error) {
        if (attempts === 1) throw error;
        await this.page.keyboard.press('Escape');
      }
    }
    await this.page.locator('.tabs-container .tab.active', { hasText: name }).waitFor();
    await this.page.locator('.editor-instance .monaco-editor .view-line').first().click();
  }

  /** Opens a notebook of the workspace by name. */
  async openNotebook(name: string): Promise<void> {
    await this.page.keyboard.press('Control+P');
    await this.page.locator('.quick-input-widget input').first().fill(name);
    await this.page.locator('.quick-input-list').getByRole('option', { name }).first().click();
    await this.page.locator('.notebook-editor .code-cell-row').first().click();
  }

  /** Answers the editor's own dialog for a file; it passes over what is entered while it still lists a folder. */
  async chooseFile(path: string): Promise<void> {
    const input = this.page.locator('.quick-input-widget input').first();
    await input.waitFor();
    for (let attempts = 20; attempts > 0 && (await input.isVisible()); attempts--) {
      await input.fill(path, { timeout: 2000 }).catch(() => {});
      await input.press('Enter', { timeout: 2000 }).catch(() => {});
      await input.waitFor({ state: 'hidden', timeout: 2000 }).catch(() => {});
    }
  }

  /** Opens the folders of `path` in the Explorer and chooses `command` from the menu of its last part. */
  async explorerMenu(path: readonly string[], command: string): Promise<void> {
    await this.page.keyboard.press('Control+Shift+E');
    const item = (name: string) =>
      this.page.locator('.explorer-folders-view').getByRole('treeitem', { name }).first();
    for (const folder of path.slice(0, -1)) {
      await item(folder).waitFor();
      if ((await item(folder).getAttribute('aria-expanded')) !== 'true') await item(folder).click();
    }
    await this.contextMenu(item(path.at(-1)!), command);
  }

  /** Chooses `command` from the menu that a click with the right button on `target` opens. */
  async contextMenu(target: Locator, command: string): Promise<void> {
    await target.click({ button: 'right' });
    const entry = this.page.getByRole('menuitem', { name: command });
    await entry.waitFor();
    // A menu takes no click in the moment after it opened: that may be the end of the one that opened it.
    await eventually('the menu takes the click', async () => {
      if (await entry.isVisible()) await entry.click({ timeout: 1_000 }).catch(() => {});
      return !(await entry.isVisible());
    });
  }

  /** Puts a picture into the clipboard and pastes it where `target` is. */
  async paste(png: Uint8Array, target: Locator): Promise<void> {
    await this.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await this.page.bringToFront();
    await this.page.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const { navigator, ClipboardItem } = globalThis as unknown as {
        navigator: { clipboard: { write(items: unknown[]): Promise<void> } };
        ClipboardItem: new (parts: Record<string, Blob>) => unknown;
      };
      const blob = new Blob([bytes], { type: 'image/png' });
      await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
    }, Buffer.from(png).toString('base64'));
    await target.click();
    await this.page.keyboard.press('Control+V');
  }

  /** Drops files from outside onto `target`, with Shift held: else the editor takes them for itself. */
  async drop(files: readonly string[], target: Locator): Promise<void> {
    const box = await target.boundingBox();
    if (box === null) throw new Error('What is dropped on is not visible.');
    const session = await this.page.context().newCDPSession(this.page);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const data = { items: [], files: [...files], dragOperationsMask: 1 };
    for (const type of ['dragEnter', 'dragOver', 'dragOver', 'drop'] as const)
      await session.send('Input.dispatchDragEvent', { type, x, y, data, modifiers: 8 });
    await session.detach();
  }

  /** Chooses a colour theme by its name in the list. */
  async chooseTheme(name: string): Promise<void> {
    await this.command('Preferences: Color Theme');
    const input = this.page.locator('.quick-input-widget input').first();
    await input.fill(name);
    await this.page.locator('.quick-input-list').getByRole('option', { name }).first().click();
    await input.waitFor({ state: 'hidden' });
  }

  /** What the status bar says about the cursor, such as `Ln 7, Col 1`. */
  async cursor(): Promise<string | null> {
    return this.page.locator('[id="status.editor.selection"]').textContent();
  }

  /** The inside of the only visible webview. */
  webview(): FrameLocator {
    return this.page.frameLocator('iframe.webview.ready').frameLocator('iframe#active-frame');
  }

  /** The inside of the webview that holds `element`, whatever others are visible. */
  async webviewWith(element: string): Promise<Frame> {
    return eventually(`a page with ${element}`, async () => {
      for (const frame of this.page.frames())
        if (
          (await frame
            .locator(element)
            .count()
            .catch(() => 0)) > 0
        )
          return frame;
      return null;
    });
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }
}
