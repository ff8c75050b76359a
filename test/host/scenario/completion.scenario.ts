/**
 * A person types code and accepts ghost text with Tab: with the built-in model wherever it has something to say, and
 * with a scripted engine at a place that the test chooses.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Workbench } from '../browser.ts';
import { ChatPage } from '../chat-page.ts';
import { eventually } from '../eventually.ts';
import { type HostServer, startServer } from '../server.ts';
import { screenshot } from './screenshot.ts';
import { extensionSource, type FixtureWorkspace, fixtureWorkspace, scriptedSidecar } from './setting.ts';

/** Beginnings that a small model can go on from; typed one after another until there is ghost text. */
const beginnings = [
  'export function subtract(left: number, right: number): number {\n  return ',
  'const sum = ',
  'if (items.',
];

const autoSave = { 'files.autoSave': 'afterDelay', 'files.autoSaveDelay': 100 };

describe('ghost text', () => {
  let workspace: FixtureWorkspace;
  let server: HostServer;
  let workbench: Workbench;

  before(async () => {
    workspace = fixtureWorkspace();
    server = await startServer({
      extension: extensionSource,
      settings: autoSave,
    });
    workbench = await Workbench.launch();
    await workbench.open(server.origin, workspace.folder);
    // The extension is up once its page is.
    await new ChatPage(workbench).open();
  });

  after(async () => {
    await workbench?.close();
    await server?.stop();
    workspace?.remove();
  });

  it('appears while typing and becomes text with Tab', async () => {
    const file = join(workspace.folder, 'src', 'price.ts');
    await workbench.openFile('price.ts');
    const { keyboard } = workbench.page;
    const ghost = workbench.page.locator('.monaco-editor [class*="ghost-text"]').first();
    let attempts = 0;
    let typed = '';
    await eventually('ghost text', async () => {
      await keyboard.press('Control+End');
      typed = beginnings[attempts++ % beginnings.length]!;
      await keyboard.press('Enter');
      await keyboard.type(typed, { delay: 20 });
      return ghost.waitFor({ timeout: 8000 }).then(
        () => true,
        () => false,
      );
    });
    await screenshot(workbench, 'ghost-text');
    const before = readFileSync(file, 'utf8');
    await keyboard.press('Tab');
    await eventually(
      'the accepted text in the file',
      () => readFileSync(file, 'utf8').length > before.length,
    );
    assert.ok(readFileSync(file, 'utf8').includes(typed.trimEnd().split('\n').at(-1)!.trim()));
  });
});

describe('ghost text of several lines', () => {
  let workspace: FixtureWorkspace;
  let server: HostServer;
  let workbench: Workbench;

  before(async () => {
    workspace = fixtureWorkspace();
    server = await startServer({
      extension: extensionSource,
      settings: autoSave,
      env: { GEMMA_SIDECAR_DEV: scriptedSidecar(workspace, '\n  return amount * 2;\n}\n') },
    });
    workbench = await Workbench.launch();
    await workbench.open(server.origin, workspace.folder);
    await new ChatPage(workbench).open();
  });

  after(async () => {
    await workbench?.close();
    await server?.stop();
    workspace?.remove();
  });

  it('appears between brackets that the editor closed itself', async () => {
    await workbench.openFile('price.ts');
    const { keyboard } = workbench.page;
    const ghost = workbench.page.locator('.monaco-editor [class*="ghost-text"]').first();
    await eventually('ghost text', async () => {
      await keyboard.press('Control+End');
      await keyboard.press('Enter');
      await keyboard.type('function twice(amount: number) {', { delay: 20 });
      return ghost.waitFor({ timeout: 8000 }).then(
        () => true,
        () => false,
      );
    });
    await screenshot(workbench, 'ghost-text-lines');
    await keyboard.press('Tab');
    const file = join(workspace.folder, 'src', 'price.ts');
    const accepted = 'function twice(amount: number) {\n  return amount * 2;\n}';
    await eventually('the accepted lines', () => readFileSync(file, 'utf8').includes(accepted));
  });
});
