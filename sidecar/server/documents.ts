/** Mirror of the text the editor has open, so that prompts see what is on the screen rather than on disk. */
import type { Connection, ServerCapabilities } from 'vscode-languageserver/node';
import { TextDocumentSyncKind, TextDocuments } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Feature } from './feature.ts';

export class Documents implements Feature {
  private readonly open = new TextDocuments(TextDocument);
  /** Documents whose text differs from the file since they were opened or saved. */
  private readonly dirty = new Set<string>();
  private readonly editListeners: (() => void)[] = [];
  private readonly saveListeners: (() => void)[] = [];

  constructor(connection: Connection) {
    this.open.listen(connection);
    const versions = new Map<string, number>();
    this.open.onDidOpen(({ document }) => versions.set(document.uri, document.version));
    this.open.onDidChangeContent(({ document }) => {
      if (versions.get(document.uri) === document.version) return;
      this.dirty.add(document.uri);
      for (const listener of this.editListeners) listener();
    });
    this.open.onDidSave(({ document }) => this.clean(document.uri));
    this.open.onDidClose(({ document }) => {
      versions.delete(document.uri);
      this.clean(document.uri);
    });
  }

  /** Called after every change of an open document's text. */
  onEdit(listener: () => void): void {
    this.editListeners.push(listener);
  }

  onSaveOrClose(listener: () => void): void {
    this.saveListeners.push(listener);
  }

  private clean(uri: string): void {
    this.dirty.delete(uri);
    for (const listener of this.saveListeners) listener();
  }

  initialize(): ServerCapabilities {
    return { textDocumentSync: { openClose: true, change: TextDocumentSyncKind.Incremental, save: true } };
  }

  get(uri: string): TextDocument | undefined {
    return this.open.get(uri);
  }

  uris(): readonly string[] {
    return this.open.keys();
  }

  /** Every open document but this one. */
  except(uri: string): readonly TextDocument[] {
    return this.open.all().filter((document) => document.uri !== uri);
  }

  /** Text of open documents that are not saved, by URI. */
  unsaved(): { readonly uri: string; readonly text: string }[] {
    return [...this.dirty].flatMap((uri) => {
      const document = this.open.get(uri);
      return document ? [{ uri, text: document.getText() }] : [];
    });
  }
}
