/** Activation: the whole wiring of the editor side. */

import * as vscode from 'vscode';
import { activateCacheCommand } from './cache-command.ts';
import { activateChatView } from './chat-view.ts';
import { SidecarClient } from './client.ts';
import { needsRestart, readSettings } from './config.ts';
import { ContextChoiceStore } from './context-choice.ts';
import { inlineCompletionMiddleware } from './inline-completion.ts';
import { activateModelCommands } from './model-commands.ts';
import type { SidecarCommand } from './sidecar-process.ts';
import { activateStatusBar } from './status-bar.ts';

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel('Gemma Sidecar', { log: true });
  const choice = new ContextChoiceStore(context.workspaceState);
  const client = new SidecarClient({
    command: sidecarCommand(context),
    endWhenHung: process.env['GEMMA_SIDECAR_INSPECT'] === undefined,
    log,
    middleware: inlineCompletionMiddleware,
    initializationOptions: () => ({
      ...readSettings(),
      workspaceTrusted: vscode.workspace.isTrusted,
      // Whether to ask is decided here, for each document, so that a change needs no restart.
      completionEnabled: true,
      choice: choice.current,
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
  activateChatView(context, client, choice, log);
  activateStatusBar(context, client);
  activateModelCommands(context, client);
  activateCacheCommand(context, client);
  void client.start();
}

/** GEMMA_SIDECAR_DEV names another build of the sidecar to run, GEMMA_SIDECAR_INSPECT a port for its debugger. */
function sidecarCommand(context: vscode.ExtensionContext): SidecarCommand {
  const inspectPort = process.env['GEMMA_SIDECAR_INSPECT'];
  return {
    entry: process.env['GEMMA_SIDECAR_DEV'] ?? context.asAbsolutePath('dist/sidecar.js'),
    workingDirectory: context.extensionPath,
    ...(inspectPort === undefined ? {} : { runtimeArguments: [`--inspect=127.0.0.1:${inspectPort}`] }),
  };
}
