/** The context panel in the editor area: asks the sidecar what fills the window, and carries out pins and drops. */

import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import type { Status } from '../sidecar/protocol/methods.ts';
import type { ContextHostMessage } from '../webview/context-messages.ts';
import { webviewPage } from './chat-page.ts';
import type { SidecarClient } from './client.ts';
import type { ContextChoiceStore } from './context-choice.ts';
import { parseContextMessage } from './context-message.ts';
import { openWorkspaceFile } from './editor-actions.ts';

const { t } = vscode.l10n;

/** Changes of files come in bursts. */
const REFRESH_DELAY_MS = 1_000;

export function activateContextPanel(
  context: vscode.ExtensionContext,
  client: SidecarClient,
  choice: ContextChoiceStore,
  log: vscode.LogOutputChannel,
): void {
  let panel: ContextPanel | null = null;
  const show = () => {
    if (panel !== null) return panel.reveal();
    panel = new ContextPanel(context.extensionUri, client, choice, log);
    panel.onClosed(() => {
      panel = null;
    });
  };
  context.subscriptions.push(
    vscode.commands.registerCommand('gemmaSidecar.context.show', show),
    vscode.commands.registerCommand('gemmaSidecar.context.pin', (uri?: unknown) =>
      chooseFile(choice, uri, 'pinned'),
    ),
    vscode.commands.registerCommand('gemmaSidecar.context.drop', (uri?: unknown) =>
      chooseFile(choice, uri, 'dropped'),
    ),
  );
}

/** A file or folder that the person chose in the Explorer or has open. */
async function chooseFile(
  choice: ContextChoiceStore,
  given: unknown,
  what: 'pinned' | 'dropped',
): Promise<void> {
  const uri = given instanceof vscode.Uri ? given : vscode.window.activeTextEditor?.document.uri;
  if (uri === undefined || vscode.workspace.getWorkspaceFolder(uri) === undefined) {
    void vscode.window.showErrorMessage(t('Choose a file or folder of this workspace first.'));
    return;
  }
  const path = vscode.workspace.asRelativePath(uri);
  await choice.set(path, what);
  void vscode.window.showInformationMessage(
    what === 'pinned'
      ? t('“{0}” goes into every prompt now.', path)
      : t('“{0}” stays out of every prompt now.', path),
  );
}

class ContextPanel {
  readonly #panel: vscode.WebviewPanel;
  readonly #client: SidecarClient;
  readonly #choice: ContextChoiceStore;
  readonly #log: vscode.LogOutputChannel;
  readonly #subscriptions: vscode.Disposable[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** What of the status the report depends on, as it was last. */
  #shown = '';
  /** The newest request; the answer to an older one is dropped. */
  #asked = 0;

  constructor(
    extensionUri: vscode.Uri,
    client: SidecarClient,
    choice: ContextChoiceStore,
    log: vscode.LogOutputChannel,
  ) {
    this.#client = client;
    this.#log = log;
    this.#choice = choice;
    const assets = vscode.Uri.joinPath(extensionUri, 'dist', 'webview');
    this.#panel = vscode.window.createWebviewPanel(
      'gemmaSidecar.context',
      t('Gemma Context'),
      vscode.ViewColumn.Active,
      {
        enableScripts: true,
        localResourceRoots: [assets],
      },
    );
    const { webview } = this.#panel;
    const asset = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(assets, name)).toString();
    webview.onDidReceiveMessage((message: unknown) => this.#receive(message));
    webview.html = webviewPage({
      element: 'gemma-context',
      scriptUri: asset('context.js'),
      styleUri: asset('page.css'),
      codiconUri: asset('codicon.css'),
      cspSource: webview.cspSource,
      nonce: randomBytes(16).toString('base64url'),
      language: vscode.env.language,
    });
    const soon = () => this.#refreshSoon();
    this.#subscriptions.push(
      client.onStatusChanged((status) => this.#statusChanged(status)),
      choice.onChanged(() => void this.#refresh()),
      vscode.workspace.onDidSaveTextDocument(soon),
      this.#panel.onDidChangeViewState(soon),
    );
    this.onClosed(() => {
      clearTimeout(this.#timer);
      for (const subscription of this.#subscriptions) subscription.dispose();
    });
  }

  reveal(): void {
    this.#panel.reveal();
  }

  onClosed(listener: () => void): void {
    this.#panel.onDidDispose(listener);
  }

  #refreshSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#refresh(), REFRESH_DELAY_MS);
  }

  /** The progress of reading is shown at once; what it comes to, when it has ended. */
  #statusChanged({ state, readingAhead }: Status): void {
    const shown = `${state} ${readingAhead !== undefined}`;
    if (readingAhead !== undefined) {
      void this.#panel.webview.postMessage({
        type: 'reading-ahead',
        progress: readingAhead,
      } satisfies ContextHostMessage);
    }
    if (shown !== this.#shown) this.#refreshSoon();
    this.#shown = shown;
  }

  async #refresh(): Promise<void> {
    if (!this.#panel.visible) return;
    const asked = ++this.#asked;
    const choice = this.#choice.current;
    let message: ContextHostMessage;
    try {
      message = { type: 'report', report: await this.#client.context(choice), choice };
    } catch (error) {
      this.#log.error(`There is no report of the context: ${String(error)}`);
      message = {
        type: 'problem',
        message: t('The sidecar cannot say what fills the context. Its log says more.'),
      };
    }
    if (asked === this.#asked) void this.#panel.webview.postMessage(message);
  }

  async #receive(received: unknown): Promise<void> {
    const message = parseContextMessage(received);
    switch (message?.type) {
      case 'ready':
      case 'refresh':
        return this.#refresh();
      case 'open-file':
        return openWorkspaceFile(message.path, 1).catch((error: Error) => {
          void vscode.window.showErrorMessage(error.message);
        });
      case 'choose':
        return this.#choice.set(message.path, message.choice);
      case 'add':
        return this.#add();
      case undefined:
        return;
      default:
        return message satisfies never;
    }
  }

  async #add(): Promise<void> {
    const uris = await vscode.window.showOpenDialog({
      title: t('Pin files or folders to the context'),
      openLabel: t('Pin'),
      canSelectMany: true,
      canSelectFolders: true,
      canSelectFiles: true,
      ...(vscode.workspace.workspaceFolders?.[0] && { defaultUri: vscode.workspace.workspaceFolders[0].uri }),
    });
    for (const uri of uris ?? []) {
      if (vscode.workspace.getWorkspaceFolder(uri) === undefined)
        void vscode.window.showErrorMessage(t('“{0}” is not in this workspace.', uri.fsPath));
      else await this.#choice.set(vscode.workspace.asRelativePath(uri), 'pinned');
    }
  }
}
