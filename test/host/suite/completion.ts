import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import * as vscode from 'vscode';
import { eventually } from '../eventually.ts';

/** Code whose middle is missing at `▮`, so plain that any trained model has something to say. */
const source = `export function add(left: number, right: number): number {
  return ▮;
}
`;

export function completionSuite(): void {
  describe('ghost text', () => {
    let editor: vscode.TextEditor;

    before(async () => {
      const document = await vscode.workspace.openTextDocument({
        language: 'typescript',
        content: source.replace('▮', ''),
      });
      editor = await vscode.window.showTextDocument(document);
      const caret = document.positionAt(source.indexOf('▮'));
      editor.selection = new vscode.Selection(caret, caret);
    });

    after(() => vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor'));

    it('is not offered where completion is switched off for the language', async () => {
      const settings = vscode.workspace.getConfiguration('gemmaSidecar', { languageId: 'typescript' });
      await settings.update('completion.enabled', false, vscode.ConfigurationTarget.Global, true);
      const original = editor.document.getText();
      await triggerAndAccept();
      assert.equal(editor.document.getText(), original);
      await settings.update('completion.enabled', undefined, vscode.ConfigurationTarget.Global, true);
    });

    it('is offered at the cursor and accepted', async () => {
      const original = editor.document.getText();
      await eventually('an accepted completion', async () => {
        await triggerAndAccept();
        return editor.document.getText() !== original;
      });
      const changed = editor.document.getText();
      const [prefix, suffix] = source.split('▮') as [string, string];
      assert.ok(changed.startsWith(prefix) && changed.endsWith(suffix), changed);
      assert.ok(changed.length > original.length);
    });
  });
}

async function triggerAndAccept(): Promise<void> {
  await vscode.commands.executeCommand('editor.action.inlineSuggest.trigger');
  // The editor gives no event for ghost text: accepting is the only way to see it from inside.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await vscode.commands.executeCommand('editor.action.inlineSuggest.commit');
}
