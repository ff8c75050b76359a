/** The chat view: hosts the page, sends it every step of the conversation, and carries out what it asks for. */

import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import type { HostMessage, PageRequest } from '../webview/messages.ts';
import type { FixAction, SavedChat, Workspace } from '../webview/state.ts';
import { chatPage } from './chat-page.ts';
import { ChatSession } from './chat-session.ts';
import type { SidecarClient } from './client.ts';
import { readSettings } from './config.ts';
import { insertAtCursor, openLink, openWorkspaceFile, selectedText } from './editor-actions.ts';
import { modelFailure, requestFailure } from './failure.ts';
import { parsePageMessage } from './page-message.ts';

const VIEW_ID = 'gemmaSidecar.chat';
const SAVED_CHAT = 'chat';

const { t } = vscode.l10n;

export function activateChatView(context: vscode.ExtensionContext, client: SidecarClient): void {
  const view = new ChatView(context, client);
  context.subscriptions.push(
    vscode.window.registerWebviewViewProvider(VIEW_ID, view),
    vscode.workspace.onDidChangeWorkspaceFolders(() => view.workspaceChanged()),
    vscode.workspace.onDidGrantWorkspaceTrust(() => view.workspaceChanged()),
    vscode.commands.registerCommand('gemmaSidecar.chat.open', () => view.open()),
    vscode.commands.registerCommand('gemmaSidecar.chat.askAboutSelection', () => view.askAboutSelection()),
    vscode.commands.registerCommand('gemmaSidecar.chat.new', async () => {
      view.session.clear();
      await view.open();
    }),
    vscode.commands.registerCommand('gemmaSidecar.chat.stop', () => view.session.stop()),
  );
}

class ChatView implements vscode.WebviewViewProvider {
  readonly session: ChatSession;
  readonly #assets: vscode.Uri;
  #webview: vscode.Webview | null = null;
  #focusWhenReady = false;

  constructor(context: vscode.ExtensionContext, client: SidecarClient) {
    this.#assets = vscode.Uri.joinPath(context.extensionUri, 'dist', 'webview');
    this.session = new ChatSession({
      chat: (params, signal) => client.chat(params, signal),
      describeFailure: (error) => requestFailure(error, readSettings().modelPath !== undefined, t),
      saved: context.workspaceState.get<SavedChat>(SAVED_CHAT, { messages: [], promptUse: null }),
      save: (chat) => void context.workspaceState.update(SAVED_CHAT, chat),
      onEvent: (event) => this.#post({ type: 'event', event }),
    });
    this.workspaceChanged();
    context.subscriptions.push(
      client.onSidecarChanged((sidecar) => this.session.dispatch({ type: 'sidecar-changed', sidecar })),
      client.onStatusChanged((status) => {
        const failure = modelFailure(status, readSettings().modelPath !== undefined, t);
        this.session.dispatch({ type: 'status-changed', status, failure });
      }),
      // Whoever writes in an editor by now does not want the keyboard elsewhere.
      vscode.window.onDidChangeTextEditorSelection(() => {
        this.#focusWhenReady = false;
      }),
      client.onChatProgressed((progress) => this.session.progressed(progress)),
      client.onChatStreamed((delta) => this.session.streamed(delta)),
    );
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    const { webview } = view;
    this.#webview = webview;
    webview.options = { enableScripts: true, localResourceRoots: [this.#assets] };
    webview.onDidReceiveMessage((message: unknown) => this.#receive(message));
    view.onDidDispose(() => {
      if (this.#webview === webview) this.#webview = null;
    });
    const asset = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(this.#assets, name)).toString();
    webview.html = chatPage({
      scriptUri: asset('main.js'),
      styleUri: asset('page.css'),
      codiconUri: asset('codicon.css'),
      cspSource: webview.cspSource,
      nonce: randomBytes(16).toString('base64url'),
      language: vscode.env.language,
    });
  }

  /** Shows the view with the keyboard on its input. */
  async open(): Promise<void> {
    this.#focusWhenReady = this.#webview === null;
    await vscode.commands.executeCommand(`${VIEW_ID}.focus`);
    this.#post({ type: 'focus' });
  }

  /** Sends the selection of the active editor along with the next question, and lets that be typed. */
  async askAboutSelection(): Promise<void> {
    const attachment = selectedText(vscode.window.activeTextEditor);
    if (attachment === null) {
      void vscode.window.showInformationMessage(t('Select the code that you want to ask about first.'));
      return;
    }
    this.session.dispatch({ type: 'attached', attachment });
    await this.open();
  }

  workspaceChanged(): void {
    const workspace: Workspace = {
      folder: vscode.workspace.workspaceFolders?.[0]?.name ?? null,
      trusted: vscode.workspace.isTrusted,
    };
    this.session.dispatch({ type: 'workspace-changed', workspace });
  }

  #post(message: HostMessage): void {
    void this.#webview?.postMessage(message);
  }

  async #receive(received: unknown): Promise<void> {
    const message = parsePageMessage(received);
    if (message === null) return;
    if (message.type === 'ready') {
      this.#post({ type: 'state', state: this.session.state });
      if (this.#focusWhenReady) this.#post({ type: 'focus' });
      this.#focusWhenReady = false;
      return;
    }
    const { id } = message;
    try {
      await this.#carryOut(message.request);
      this.#post({ type: 'reply', id });
    } catch (error) {
      this.#post({ type: 'reply', id, error: error instanceof Error ? error.message : String(error) });
    }
  }

  async #carryOut(request: PageRequest): Promise<void> {
    switch (request.type) {
      case 'ask':
        return this.session.ask(request.question);
      case 'regenerate':
        return this.session.regenerate();
      case 'stop':
        return this.session.stop();
      case 'new-chat':
        return this.session.clear();
      case 'detach':
        return this.session.dispatch({ type: 'detached', place: request.place });
      case 'copy':
        return vscode.env.clipboard.writeText(request.text);
      case 'insert':
        return insertAtCursor(request.text);
      case 'open-file':
        return openWorkspaceFile(request.path, request.line, request.endLine);
      case 'open-link':
        return openLink(request.url);
      case 'fix':
        return this.#fix(request.action);
      default:
        return request satisfies never;
    }
  }

  async #fix(action: FixAction): Promise<void> {
    if (action === 'retry') return this.session.regenerate();
    await vscode.commands.executeCommand(...COMMANDS[action]);
  }
}

const COMMANDS: Readonly<Record<Exclude<FixAction, 'retry'>, [command: string, ...args: string[]]>> = {
  'choose-model': ['gemmaSidecar.model.choose'],
  'use-built-in-model': ['gemmaSidecar.model.useBuiltIn'],
  'restart-sidecar': ['gemmaSidecar.sidecar.restart'],
  'show-log': ['gemmaSidecar.log.show'],
  'open-settings': ['workbench.action.openSettings', 'gemmaSidecar'],
  'open-folder': ['workbench.action.files.openFolder'],
  'manage-trust': ['workbench.trust.manage'],
};
