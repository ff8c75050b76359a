/** Activation: the whole wiring of the editor side. */

import * as vscode from 'vscode';
import { activateChatView } from './chat-view.ts';
import { SidecarClient } from './client.ts';
import { isCompletionEnabled, needsRestart, readSettings } from './config.ts';
import { inlineCompletionMiddleware } from './inline-completion.ts';
import { activateModelCommands } from './model-commands.ts';
import { activateStatusBar } from './status-bar.ts';

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel('Gemma Sidecar', { log: true });
  const client = new SidecarClient({
    command: { entry: sidecarEntry(context), workingDirectory: context.extensionPath },
    log,
    middleware: inlineCompletionMiddleware,
    initializationOptions: () => ({
      ...readSettings(),
      workspaceTrusted: vscode.workspace.isTrusted,
      completionEnabled: isCompletionEnabled(),
    }),
  });
  const restart = () => client.restart();

  context.subscriptions.push(
    log,
    client,
    vscode.commands.registerCommand('gemmaSidecar.sidecar.restart', restart),
    vscode.commands.registerCommand('gemmaSidecar.log.show', () => log.show()),
    vscode.workspace.onDidGrantWorkspaceTrust(restart),
    vscode.workspace.onDidChangeConfiguration((change) => (needsRestart(change) ? restart() : undefined)),
  );
  activateChatView(context, client);
  activateStatusBar(context, client);
  activateModelCommands(context, client);
  void client.start();
}

/** GEMMA_SIDECAR_DEV names another build of the sidecar to run, for work on it. */
function sidecarEntry(context: vscode.ExtensionContext): string {
  return process.env['GEMMA_SIDECAR_DEV'] ?? context.asAbsolutePath('dist/sidecar.js');
}
