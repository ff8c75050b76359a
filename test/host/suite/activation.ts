import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import * as vscode from 'vscode';
import { eventually } from '../eventually.ts';
import { contributions, extensionUnderTest } from './extension.ts';

export function activationSuite(): void {
  describe('activation', () => {
    it('happens by itself after start-up', async () => {
      const extension = extensionUnderTest();
      await eventually('the extension to activate', () => extension.isActive);
    });

    it('registers every command of the manifest', async () => {
      const registered = new Set(await vscode.commands.getCommands(true));
      const declared = contributions().commands.map(({ command }) => command);
      assert.ok(declared.length > 0);
      assert.deepEqual(
        declared.filter((command) => !registered.has(command)),
        [],
      );
    });

    it('keeps settings with power out of a workspace', async () => {
      const powerful = ['modelPath', 'contextLength', 'threads'];
      const { properties } = contributions().configuration;
      for (const name of powerful) assert.equal(properties[`gemmaSidecar.${name}`]?.scope, 'machine', name);
      const update = vscode.workspace
        .getConfiguration('gemmaSidecar')
        .update('modelPath', '/tmp/other.gguf', vscode.ConfigurationTarget.Workspace);
      await assert.rejects(async () => update);
    });

    it('opens the chat view, starts a new chat and accepts a stop with nothing to stop', async () => {
      await vscode.commands.executeCommand('gemmaSidecar.chat.open');
      await vscode.commands.executeCommand('gemmaSidecar.chat.new');
      await vscode.commands.executeCommand('gemmaSidecar.chat.stop');
    });
  });
}
