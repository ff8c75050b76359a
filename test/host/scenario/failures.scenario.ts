/** What a person sees when the model cannot be used, and how they get out of it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Workbench } from '../browser.ts';
import { ChatPage } from '../chat-page.ts';
import { type HostServer, startServer } from '../server.ts';
import { screenshot } from './screenshot.ts';
import { extensionSource, type FixtureWorkspace, fixtureWorkspace } from './setting.ts';

describe('a model file that is none', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gemma-sidecar-bad-model-'));
  const modelPath = join(folder, 'holiday.gguf');
  let workspace: FixtureWorkspace;
  let server: HostServer;
  let workbench: Workbench;
  let chat: ChatPage;

  before(async () => {
    writeFileSync(modelPath, 'These are holiday notes, no model.');
    workspace = fixtureWorkspace();
    server = await startServer({
      extension: extensionSource,
      machineSettings: { 'gemmaSidecar.modelPath': modelPath },
    });
    workbench = await Workbench.launch();
    await workbench.open(server.origin, workspace.folder);
    chat = new ChatPage(workbench);
    await workbench.command('Gemma: Open Chat');
  });

  after(async () => {
    await workbench?.close();
    await server?.stop();
    workspace?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it('is named in the chat with a sentence', async () => {
    await chat.failure.first().waitFor();
    assert.match(
      (await chat.failure.first().textContent()) ?? '',
      /holiday\.gguf is not a GGUF file: .*Choose a Gemma 3 model/,
    );
    await screenshot(workbench, 'bad-model');
  });

  it('is left for the built-in model with one click', async () => {
    await chat.fix('use-built-in-model').first().click();
    await chat.failure.first().waitFor({ state: 'detached' });
    await chat.ask('Where is `total` defined?');
    await chat.idle();
    assert.equal(await chat.failure.count(), 0);
  });
});
