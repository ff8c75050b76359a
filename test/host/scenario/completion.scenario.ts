/** A person types code and accepts ghost text with Tab. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Workbench } from '../browser.ts';
import { eventually } from '../eventually.ts';
import { type HostServer, startServer } from '../server.ts';
import { screenshot } from './screenshot.ts';
import { extensionSource, type FixtureWorkspace, fixtureWorkspace } from './setting.ts';

/** Beginnings that a small model can go on from; typed one after another until there is ghost text. */
const beginnings = [
  'export function subtract(left: number, right: number): number {\n  return ',
  'const sum = ',
  'if (items.',
];

describe('ghost text', () => {
  let workspace: FixtureWorkspace;
  let server: HostServer;
  let workbench: Workbench;

  before(async () => {
    workspace = fixtureWorkspace();
    server = await startServer({
      extension: extensionSource,
      settings: { 'files.autoSave': 'afterDelay', 'files.autoSaveDelay': 100 },
    });
    workbench = await Workbench.launch();
    await workbench.open(server.origin, workspace.folder);
    // The extension is up once its command is there.
    await workbench.command('Gemma: Open Chat');
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
      return ghost.waitFor({ timeout: 5000 }).then(
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
    await ghost.waitFor({ state: 'hidden' });
    assert.ok(readFileSync(file, 'utf8').includes(typed.trimEnd().split('\n').at(-1)!.trim()));
  });
});
