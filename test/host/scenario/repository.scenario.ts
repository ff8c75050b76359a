/** A person asks about this repository: reading it shows progress and can be stopped; the next question is answered. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { violations } from '../../support/axe.ts';
import { Workbench } from '../browser.ts';
import { ChatPage } from '../chat-page.ts';
import { type HostServer, startServer } from '../server.ts';
import { screenshot } from './screenshot.ts';
import { extensionSource, repository } from './setting.ts';

const themes = ['Light Modern', 'Dark Modern', 'Dark High Contrast', 'Light High Contrast'] as const;

describe('chat about this repository', () => {
  let server: HostServer;
  let workbench: Workbench;
  let chat: ChatPage;

  before(async () => {
    server = await startServer({ extension: extensionSource });
    workbench = await Workbench.launch();
    await workbench.open(server.origin, repository);
    chat = new ChatPage(workbench);
    await workbench.command('Gemma: Open Chat');
  });

  after(async () => {
    await workbench?.close();
    await server?.stop();
  });

  it('stops on the word', async () => {
    const stopped = chat.lastAnswer.getByText('Stopped', { exact: false });
    for (let attempt = 1; attempt <= 5; attempt++) {
      await chat.askAndWatch(`Where is file number ${attempt} read?`, { stop: true });
      if ((await stopped.count()) > 0) break;
    }
    assert.equal(await stopped.count(), 1, 'no answer was stopped');
    assert.equal(await chat.failure.count(), 0);
  });

  it('says what it reads for the next question, answers it and says what filled the context', async () => {
    const { progress } = await chat.askAndWatch('Where is `startServer` defined?');
    const said = progress.some((line) => /^(?:Finding files|Reading repository: \d+ files?)/.test(line));
    assert.ok(said, `said only: ${progress.join(' | ')}`);
    assert.equal(await chat.failure.count(), 0);
    assert.notEqual(await chat.lastText(), '');
    await chat.get('meter').click();
    await chat.get('left-out').waitFor();
    await screenshot(workbench, 'meter');
    await chat.get('meter').click();
  });

  it('shows what fills the window as a map, which says so in words too', async () => {
    await workbench.command('Gemma: Show Context');
    const panel = await workbench.webviewWith('gemma-context');
    await panel.getByTestId('tile').first().waitFor();
    await panel.getByTestId('as-table').click();
    await panel.getByTestId('table').locator('tbody tr').first().waitFor();
    await screenshot(workbench, 'context');
    await workbench.command('View: Close All Editors');
  });

  for (const theme of themes) {
    it(`is drawn in ${theme}`, async () => {
      await workbench.chooseTheme(theme);
      const expected = `vscode-${/High Contrast/.test(theme) ? 'high-contrast' : theme.split(' ')[0]!.toLowerCase()}`;
      await chat.body.and(workbench.webview().locator(`body.${expected}`)).waitFor();
      await screenshot(workbench, theme.toLowerCase().replaceAll(' ', '-'));
      const { text, background } = await chat.input.evaluate((input) => {
        const style = input.ownerDocument.defaultView!.getComputedStyle(input);
        return { text: style.color, background: style.backgroundColor };
      });
      assert.notEqual(text, background);
      const page = await workbench.webviewWith('gemma-chat');
      // The page is transparent, and what is behind it is not of its frame.
      await page.locator('body').evaluate((body) => {
        const { style } = body as unknown as { readonly style: { backgroundColor: string } };
        style.backgroundColor = 'var(--vscode-sideBar-background)';
      });
      assert.deepEqual(await violations(page, { only: ['color-contrast'] }), []);
    });
  }
});
