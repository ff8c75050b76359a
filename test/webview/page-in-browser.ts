/** The built chat page in a real browser, under its real policy, with this test as its host. */

import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { webviewPage } from '../../extension/chat-page.ts';
import type { ContextHostMessage } from '../../webview/context-messages.ts';
import type { HostMessage, PageMessage, PageRequest } from '../../webview/messages.ts';

const BUILT = fileURLToPath(new URL('../../dist/webview/', import.meta.url));
const TYPES: Readonly<Record<string, string>> = { js: 'text/javascript', css: 'text/css', ttf: 'font/ttf' };

/** Where the browser is, as scripts/setup.mjs found it. */
export const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** What code that runs in the page finds there; the tests' own compilation knows Node only. */
interface PageGlobals {
  /** What the page has sent. */
  sentToHost: PageMessage[];
  dispatchEvent(event: Event): void;
  requestAnimationFrame(callback: () => void): void;
}

export class PageInBrowser {
  readonly page: Page;
  /** Addresses asked of the server that stands for the rest of the world. */
  readonly leaked: readonly string[];
  /** An address of that server. */
  readonly worldOrigin: string;
  readonly #browser: Browser;
  readonly #servers: readonly Server[];

  private constructor(parts: {
    page: Page;
    browser: Browser;
    servers: Server[];
    leaked: string[];
    worldOrigin: string;
  }) {
    this.page = parts.page;
    this.leaked = parts.leaked;
    this.worldOrigin = parts.worldOrigin;
    this.#browser = parts.browser;
    this.#servers = parts.servers;
  }

  /** The chat page, or the context panel. */
  static async open(which: 'chat' | 'context' = 'chat'): Promise<PageInBrowser> {
    const leaked: string[] = [];
    const world = createServer((request, response) => {
      leaked.push(request.url ?? '');
      response.writeHead(200, { 'access-control-allow-origin': '*' }).end('leaked');
    });
    const host = createServer((request, response) => {
      const name = (request.url ?? '/').slice(1);
      const type = TYPES[name.split('.').at(-1) ?? ''];
      if (type !== undefined)
        response.writeHead(200, { 'content-type': type }).end(readFileSync(BUILT + name));
      else response.writeHead(200, { 'content-type': 'text/html' }).end(html(origin(host), which));
    });
    const servers = [world, host];
    for (const server of servers)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ['--no-sandbox', '--disable-gpu'],
    });
    const page = await browser.newPage({ viewport: { width: 420, height: 800 } });
    await page.addInitScript(() => {
      const window = globalThis as unknown as PageGlobals;
      window.sentToHost = [];
      const acquireVsCodeApi = () => ({
        postMessage: (message: PageMessage) => window.sentToHost.push(message),
        getState: () => JSON.parse(sessionStorage.getItem('state') ?? 'null'),
        setState: (state: unknown) => sessionStorage.setItem('state', JSON.stringify(state)),
      });
      Object.assign(window, { acquireVsCodeApi });
    });
    await page.goto(origin(host));
    await page.locator(`gemma-${which}`).waitFor();
    return new PageInBrowser({ page, browser, servers, leaked, worldOrigin: origin(world) });
  }

  get(testId: string): Locator {
    return this.page.getByTestId(testId);
  }

  /** Messages from the host, and time for the page to draw them. */
  async receive(...messages: (HostMessage | ContextHostMessage)[]): Promise<void> {
    await this.receiveInSteps([messages, []]);
  }

  /** As `receive`, with a frame drawn after each step. */
  async receiveInSteps(steps: readonly (readonly (HostMessage | ContextHostMessage)[])[]): Promise<void> {
    await this.page.evaluate(async (all) => {
      const window = globalThis as unknown as PageGlobals;
      for (const messages of all) {
        for (const message of messages) window.dispatchEvent(new MessageEvent('message', { data: message }));
        await new Promise<void>((drawn) => window.requestAnimationFrame(() => drawn()));
      }
    }, steps);
  }

  /** Requests of the page since the last call, oldest first; but not those for the cost of a draft, which a clock sends. */
  async requests(): Promise<PageRequest[]> {
    return (await this.allRequests()).filter(({ type }) => type !== 'preview');
  }

  async allRequests(): Promise<PageRequest[]> {
    const sent = await this.page.evaluate(() => (globalThis as unknown as PageGlobals).sentToHost.splice(0));
    return sent.flatMap((message) => (message.type === 'request' ? [message.request] : []));
  }

  /** Everything the page has sent since the last call. */
  async messages(): Promise<unknown[]> {
    return this.page.evaluate(() => (globalThis as unknown as PageGlobals).sentToHost.splice(0));
  }

  async close(): Promise<void> {
    await this.#browser.close();
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}

function origin(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function html(cspSource: string, which: 'chat' | 'context'): string {
  return webviewPage({
    element: `gemma-${which}`,
    scriptUri: `${cspSource}/${which === 'chat' ? 'main' : 'context'}.js`,
    styleUri: `${cspSource}/page.css`,
    codiconUri: `${cspSource}/codicon.css`,
    cspSource,
    nonce: 'forThisTestOnly',
    language: 'en',
  });
}
