import { existsSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type FrameLocator, type Page } from 'playwright-core';

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
    context.setDefaultTimeout(30_000);
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
    await this.page.locator('.monaco-workbench .statusbar-item').first().waitFor({ timeout: 60_000 });
  }

  /** Runs a command from the palette by its full label; retries while extensions are still being scanned. */
  async command(label: string): Promise<void> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      await this.page.keyboard.press('F1');
      const input = this.page.locator('.quick-input-widget input').first();
      const option = this.page.locator('.quick-input-list').getByRole('option', { name: label }).first();
      try {
        await input.fill(`>${label}`, { timeout: 2000 });
        await option.waitFor({ timeout: 1000 });
        await option.click({ timeout: 1000 });
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

  async close(): Promise<void> {
    await this.#browser.close();
  }
}
