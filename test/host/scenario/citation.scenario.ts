/**
 * A click on a cited place opens the file there. The answer comes from a scripted engine, since a small model names the
 * right place only mostly; everything between the engine and the editor is real.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Workbench } from '../browser.ts';
import { ChatPage } from '../chat-page.ts';
import { eventually } from '../eventually.ts';
import { type HostServer, startServer } from '../server.ts';
import { screenshot } from './screenshot.ts';
import { extensionSource, type FixtureWorkspace, fixtureWorkspace, repository } from './setting.ts';

describe('a citation', () => {
  let workspace: FixtureWorkspace;
  let server: HostServer;
  let workbench: Workbench;
  let chat: ChatPage;

  before(async () => {
    workspace = fixtureWorkspace();
    const sidecar = join(workspace.parent, 'sidecar.mjs');
    const scripted = pathToFileURL(join(repository, 'test/support/scripted-sidecar.ts')).href;
    writeFileSync(
      sidecar,
      `process.env.SCRIPTED_ANSWER = '\`discounted\` is defined in src/price.ts:10.';
      await import(${JSON.stringify(scripted)});`,
    );
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
