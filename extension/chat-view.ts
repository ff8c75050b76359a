/** The chat view: hosts the page, sends it every step of the conversation, and carries out what it asks for. */

import { randomBytes, randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import type { Status } from '../sidecar/protocol/methods.ts';
import type { DiagramLanguage, HostMessage, PageRequest } from '../webview/messages.ts';
import {
  type Attachment,
  allPictures,
  type FixAction,
  isBusy,
  placeOf,
  type SavedChat,
  type Workspace,
} from '../webview/state.ts';
import { AttachedPictures } from './attached-pictures.ts';
import { webviewPage } from './chat-page.ts';
import { ChatSession } from './chat-session.ts';
import type { SidecarClient } from './client.ts';
import { readSettings } from './config.ts';
import type { ContextChoiceStore } from './context-choice.ts';
import { activateContextPanel } from './context-panel.ts';
import { insertAtCursor, openLink, openWorkspaceFile, selectedText } from './editor-actions.ts';
import { isImageUnknown, modelFailure, overLongOf, pictureProblem, requestFailure } from './failure.ts';
import { attachedMentions, mentionedText, TerminalOutput } from './mentioned-text.ts';
import { parsePageMessage } from './page-message.ts';
import { activatePictureCommands, choosePictures, type PictureChat } from './picture-commands.ts';
import { PictureShelf } from './picture-shelf.ts';

const VIEW_ID = 'gemmaSidecar.chat';
const SAVED_CHAT = 'chat';

const { t } = vscode.l10n;

export function activateChatView(
  context: vscode.ExtensionContext,
  client: SidecarClient,
  choice: ContextChoiceStore,
  log: vscode.LogOutputChannel,
): void {
  const view = new ChatView(context, client, choice, log);
  activatePictureCommands(context, view);
  activateContextPanel(context, client, choice, log);
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

/** The chat keeps the editor that was in front before it got the keyboard. */
function activeFile(): { readonly activeFile?: string } {
  const document = vscode.window.activeTextEditor?.document;
  return document === undefined ? {} : { activeFile: document.uri.toString() };
}

class ChatView implements vscode.WebviewViewProvider, PictureChat {
  readonly session: ChatSession;
  readonly #assets: vscode.Uri;
  readonly #choice: ContextChoiceStore;
  readonly #client: SidecarClient;
  readonly #terminal = new TerminalOutput();
  readonly #pictures: AttachedPictures;
  /** Pictures that the page is decoding for us. */
  readonly #decoding = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  #webview: vscode.Webview | null = null;
  /** Told when the page has drawn itself; null while it is there. */
  #awaitingPage: (() => void)[] | null = [];
  #focusWhenReady = false;
  /** What reads pictures; null until a model was loaded. */
  #reader: string | null = null;

  constructor(
    context: vscode.ExtensionContext,
    client: SidecarClient,
    choice: ContextChoiceStore,
    log: vscode.LogOutputChannel,
  ) {
    this.#client = client;
    this.#choice = choice;
    this.#assets = vscode.Uri.joinPath(context.extensionUri, 'dist', 'webview');
    this.session = new ChatSession({
      chat: (params, signal) => client.chat({ ...params, ...activeFile() }, signal),
      images: (pictures, options) => this.#pictures.toWire(pictures, options),
      isImageUnknown,
      preview: (params, signal) => client.preview({ ...params, ...activeFile() }, signal),
      choice: () => this.#choice.current,
      overLongOf,
      describeFailure: (error) => requestFailure(error, readSettings().modelPath !== undefined, t),
      saved: context.workspaceState.get<SavedChat>(SAVED_CHAT, { messages: [], promptUse: null }),
      save: (chat) => {
        void context.workspaceState.update(SAVED_CHAT, chat);
        this.#pictures.keepOnly(new Set(allPictures(this.session.state).map(({ key }) => key)));
      },
      onEvent: (event) => this.#post({ type: 'event', event }),
    });
    const folder = vscode.Uri.joinPath(context.storageUri ?? context.globalStorageUri, 'pictures').fsPath;
    this.#pictures = new AttachedPictures({
      encode: (params, signal) => client.encodeImage(params, signal),
      shelf: new PictureShelf(folder),
      all: () => allPictures(this.session.state),
      dispatch: (event) => this.session.dispatch(event),
      showThumbnail: (key, png) => this.#post({ type: 'thumbnail', key, png: png.buffer }),
      describe: (error) => pictureProblem(error, t),
      log: (line) => log.error(line),
    });
    this.workspaceChanged();
    context.subscriptions.push(
      this.#terminal,
      client.onSidecarChanged((sidecar) => this.session.dispatch({ type: 'sidecar-changed', sidecar })),
      client.onStatusChanged((status) => {
        const failure = modelFailure(status, readSettings().modelPath !== undefined, t);
        this.session.dispatch({ type: 'status-changed', status, failure });
        this.#modelChanged(status);
      }),
      // Whoever writes in an editor by now does not want the keyboard elsewhere.
      vscode.window.onDidChangeTextEditorSelection(() => {
        this.#focusWhenReady = false;
      }),
      client.onChatProgressed((progress) => this.session.progressed(progress)),
      client.onChatStreamed((delta) => this.session.streamed(delta)),
      client.onImageProgressed((progress) => this.#pictures.progressed(progress)),
    );
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    const { webview } = view;
    this.#webview = webview;
    webview.options = { enableScripts: true, localResourceRoots: [this.#assets] };
    webview.onDidReceiveMessage((message: unknown) => this.#receive(message));
    view.onDidDispose(() => {
      if (this.#webview !== webview) return;
      this.#webview = null;
      this.#pageGone();
    });
    // The editor throws the page of a hidden view away and makes a new one when it is shown; what is sent between is lost.
    view.onDidChangeVisibility(() => {
      if (!view.visible && this.#webview === webview) this.#pageGone();
    });
    const asset = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(this.#assets, name)).toString();
    webview.html = webviewPage({
      element: 'gemma-chat',
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
    this.#focusWhenReady = this.#awaitingPage !== null;
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

  #pageGone(): void {
    this.#awaitingPage ??= [];
    for (const { reject } of this.#decoding.values())
      reject(new Error(t('The chat was closed while it read the picture.')));
    this.#decoding.clear();
  }

  async attachFile(name: string, bytes: Uint8Array): Promise<void> {
    // A buffer of its own: what the file system gives may be part of a larger one.
    await this.#attach((key) => ({ type: 'decode', key, name, bytes: new Uint8Array(bytes).buffer }));
  }

  async attachDrawing(name: string, language: DiagramLanguage, source: string): Promise<void> {
    await this.#attach((key) => ({ type: 'draw', key, name, language, source }));
  }

  async #attach(message: (key: string) => HostMessage): Promise<void> {
    await new Promise<void>((ready) =>
      this.#awaitingPage === null ? ready() : this.#awaitingPage.push(ready),
    );
    const key = randomUUID();
    await new Promise<void>((resolve, reject) => {
      this.#decoding.set(key, { resolve, reject });
      this.#post(message(key));
    });
  }

  get blindness(): string | null {
    const support = this.session.state.status?.images;
    return support === undefined || support.available ? null : (support.reason ?? '');
  }

  attachText(attachment: Attachment): void {
    this.session.dispatch({ type: 'attached', attachment });
  }

  async ask(question: string): Promise<void> {
    if (!isBusy(this.session.state)) {
      try {
        return await this.session.ask(question);
      } catch {
        // Taken back; the page says why.
      }
    }
    this.#post({ type: 'draft', question });
  }

  /** What was read for one model means nothing to another, and what one could not read another may. */
  #modelChanged({ state, model, images }: Status): void {
    if (state !== 'ready') return;
    const reader = JSON.stringify([model?.path, images]);
    if (this.#reader !== null && this.#reader !== reader)
      for (const { key } of this.session.state.pictures) this.#pictures.encodeAgain(key);
    this.#reader = reader;
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
      void this.#showThumbnails();
      for (const { key, encoding } of this.session.state.pictures)
        if (encoding.state === 'stopped') this.#pictures.encodeAgain(key);
      for (const ready of this.#awaitingPage ?? []) ready();
      this.#awaitingPage = null;
      if (this.session.draft !== '') this.#post({ type: 'draft', question: this.session.draft });
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
        this.#attachMentioned(request.question);
        return this.session.ask(request.question);
      case 'preview':
        return this.session.preview(request.question);
      case 'complete-mention': {
        const mentions = await this.#client.mentions(request.query);
        return this.#post({ type: 'mentions', query: request.query, mentions });
      }
      case 'attach-mention':
        return this.attachText(mentionedText(request.kind, this.#terminal));
      case 'drop':
        return this.#drop(request.kind, request.name);
      case 'regenerate':
        return this.session.regenerate();
      case 'stop':
        return this.session.stop();
      case 'new-chat':
        return this.session.clear();
      case 'show-context':
        return void (await vscode.commands.executeCommand('gemmaSidecar.context.show'));
      case 'detach':
        return this.session.dispatch({ type: 'detached', place: request.place });
      case 'attach-picture':
        this.#pictures.attach(request.key, request.picture);
        return this.#decoded(request.key);
      case 'picture-refused':
        return this.#decoded(request.key, new Error(request.message));
      case 'choose-pictures':
        return choosePictures(this);
      case 'remove-picture':
        return this.#pictures.remove(request.key);
      case 'view-picture':
        return this.#showPixels(request.key);
      case 'choose-region':
        return this.#pictures.chooseRegion(request.key, request.region, new Uint8Array(request.thumbnail));
      case 'read-details':
        return this.#pictures.readDetails(request.key, request.details);
      case 'encode-again':
        return this.#pictures.encodeAgain(request.key);
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

  /** What the question mentions and was not attached when it was chosen. @throws when there is nothing of the kind */
  #attachMentioned(question: string): void {
    for (const kind of attachedMentions(question)) {
      const attached = this.session.state.attachments.some((one) => (one.kind ?? 'selection') === kind);
      if (!attached) this.attachText(mentionedText(kind, this.#terminal));
    }
  }

  async #drop(kind: 'turns' | 'attachment' | 'pin' | 'image', name: string): Promise<void> {
    if (kind === 'turns') return this.session.dispatch({ type: 'turns-dropped', turns: Number(name) || 0 });
    if (kind === 'pin') return this.#choice.set(name, null);
    const { attachments, pictures } = this.session.state;
    if (kind === 'image') {
      for (const picture of pictures) if (picture.name === name) this.#pictures.remove(picture.key);
      return;
    }
    for (const attachment of attachments)
      if (attachment.path === name || placeOf(attachment) === name)
        this.session.dispatch({ type: 'detached', place: placeOf(attachment) });
  }

  #decoded(key: string, error?: Error): void {
    const waiting = this.#decoding.get(key);
    this.#decoding.delete(key);
    if (error === undefined) waiting?.resolve();
    else waiting?.reject(error);
  }

  async #showThumbnails(): Promise<void> {
    for (const { key } of allPictures(this.session.state)) {
      const shelved = await this.#pictures.pixels(key);
      if (shelved !== null) this.#post({ type: 'thumbnail', key, png: shelved.thumbnail.buffer });
    }
  }

  async #showPixels(key: string): Promise<void> {
    const shelved = await this.#pictures.pixels(key);
    if (shelved === null) throw new Error(t('The picture is no longer kept. Attach it again.'));
    const { width, height, rgba } = shelved;
    this.#post({ type: 'pixels', key, width, height, rgba: rgba.buffer });
  }

  async #fix(action: FixAction): Promise<void> {
    if (action === 'retry') return this.session.regenerate();
    await vscode.commands.executeCommand(...COMMANDS[action]);
  }
}

const COMMANDS: Readonly<Record<Exclude<FixAction, 'retry'>, [command: string, ...args: string[]]>> = {
  'new-chat': ['gemmaSidecar.chat.new'],
  'choose-model': ['gemmaSidecar.model.choose'],
  'use-built-in-model': ['gemmaSidecar.model.useBuiltIn'],
  'restart-sidecar': ['gemmaSidecar.sidecar.restart'],
  'show-log': ['gemmaSidecar.log.show'],
  'open-settings': ['workbench.action.openSettings', 'gemmaSidecar'],
  'open-folder': ['workbench.action.files.openFolder'],
  'manage-trust': ['workbench.trust.manage'],
};
