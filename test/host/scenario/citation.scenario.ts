/**
 * A click on a cited place opens the file there. The answer comes from a scripted engine, since a small model names the
 * right place only mostly; everything between the engine and the editor is real.
 */
import { after, before, describe, it } from 'node:test';
import { Workbench } from '../browser.ts';
import { ChatPage } from '../chat-page.ts';
import { eventually } from '../eventually.ts';
import { type HostServer, startServer } from '../server.ts';
import { screenshot } from './screenshot.ts';
import { extensionSource, type FixtureWorkspace, fixtureWorkspace, scriptedSidecar } from './setting.ts';

describe('a citation', () => {
  let workspace: FixtureWorkspace;
  let server: HostServer;
  let workbench: Workbench;
  let chat: ChatPage;

  before(async () => {
    workspace = fixtureWorkspace();
    const sidecar = scriptedSidecar(workspace, '`discounted` is defined in src/price.ts:10.');
    server = await startServer({ extension: extensionSource, env: { GEMMA_SIDECAR_DEV: sidecar } });
    workbench = await Workbench.launch();
    await workbench.open(server.origin, workspace.folder);
    chat = new ChatPage(workbench);
    await workbench.command('Gemma: Open Chat');
  });

  after(async () => {
    await workbench?.close();
    await server?.stop();
    workspace?.remove();
  });

  it('opens its file at its line', async () => {
    await chat.ask('Where is `discounted` defined?');
    await chat.idle();
    await chat.citations.first().click();
    await workbench.page.locator('.tabs-container .tab', { hasText: 'price.ts' }).waitFor();
    await eventually('the cursor on line 10', async () => (await workbench.cursor())?.startsWith('Ln 10,'));
    await screenshot(workbench, 'citation');
  });
});
