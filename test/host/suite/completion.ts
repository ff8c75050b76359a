import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import * as vscode from 'vscode';
import { eventually } from '../eventually.ts';

/**
 * Code whose middle is missing at `▮`. A small model has nothing to say at some places, and then nothing is offered: the
 * places are tried one after another.
 */
const places = [
  'export function add(left: number, right: number): number {\n  return ▮;\n}\n',
  'const names = items.map((item) => item.name);\nconst sizes = items.map(▮\n',
  'for (let index = 0; index < ▮\n',
  "import { readFileSync } from '▮\n",
  'if (value === ▮\n',
];

export function completionSuite(): void {
  describe('ghost text', () => {
    let editor: vscode.TextEditor;

    before(async () => {
      const document = await vscode.workspace.openTextDocument({
        language: 'typescript',
        content: '',
      });
      editor = await vscode.window.showTextDocument(document);
      await goTo(editor, places[0]!);
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
      let attempts = 0;
      const { place, changed } = await eventually('an accepted completion', async () => {
        const place = places[attempts++ % places.length]!;
        await goTo(editor, place);
        const original = editor.document.getText();
        await triggerAndAccept();
        const changed = editor.document.getText();
        return changed === original ? undefined : { place, changed };
      });
      const [prefix, suffix] = place.split('▮') as [string, string];
      assert.ok(changed.startsWith(prefix) && changed.endsWith(suffix), changed);
      assert.ok(changed.length > prefix.length + suffix.length);
    });
  });
}

/** Makes `place` the text of the document, with the cursor at its gap. */
async function goTo(editor: vscode.TextEditor, place: string): Promise<void> {
  const { document } = editor;
  const everything = new vscode.Range(0, 0, document.lineCount, 0);
  await editor.edit((edit) => edit.replace(everything, place.replace('▮', '')));
  const caret = document.positionAt(place.indexOf('▮'));
  editor.selection = new vscode.Selection(caret, caret);
}

async function triggerAndAccept(): Promise<void> {
  await vscode.commands.executeCommand('editor.action.inlineSuggest.trigger');
  // The editor gives no event for ghost text: accepting is the only way to see it from inside.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await vscode.commands.executeCommand('editor.action.inlineSuggest.commit');
}
