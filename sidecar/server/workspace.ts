/** Which folders the client has open, and whether they may be read. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Connection, InitializeParams } from 'vscode-languageserver/node';
import type { Root } from '../context/repository.ts';
import type { Feature } from './feature.ts';

interface Folder {
  readonly uri: string;
  readonly name: string;
}

export class Workspace implements Feature {
  private readonly connection: Connection;
  private folders: readonly Folder[] = [];
  private watchesFolders = false;
  private trust = true;
  private readonly listeners: (() => void)[] = [];

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** False in Restricted Mode. */
  get trusted(): boolean {
    return this.trust;
  }

  initialize(params: InitializeParams) {
    const options: unknown = params.initializationOptions;
    if (typeof options === 'object' && options !== null && 'workspaceTrusted' in options) {
      this.trust = options.workspaceTrusted === true;
    }
    const root = params.rootUri ?? undefined;
    this.folders = params.workspaceFolders ?? (root ? [{ uri: root, name: path.posix.basename(root) }] : []);
    this.watchesFolders = params.capabilities.workspace?.workspaceFolders === true;
    return { workspace: { workspaceFolders: { supported: true, changeNotifications: true } } };
  }

  initialized(): void {
    if (!this.watchesFolders) return;
    this.connection.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
      const gone = new Set(removed.map((f) => f.uri));
      this.folders = [...this.folders.filter((f) => !gone.has(f.uri)), ...added];
      for (const listener of this.listeners) listener();
    });
  }

  /** Called after folders were added or removed. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Local folders; several get their names as labels, made unique where two are alike. */
  roots(): readonly Root[] {
    const local = this.folders.flatMap((f) => {
      const folder = localPath(f.uri);
      return folder === undefined ? [] : [{ folder, name: f.name.replace(/[/\\]/g, '_') }];
    });
    if (local.length < 2) return local.map(({ folder }) => ({ folder, label: null }));
    const used = new Map<string, number>();
    return local.map(({ folder, name }) => {
      const count = (used.get(name) ?? 0) + 1;
      used.set(name, count);
      return { folder, label: count === 1 ? name : `${name}-${count}` };
    });
  }

  /** Workspace-relative path with its root's label, as prompts show it; undefined outside the workspace. */
  relative(uri: string): string | undefined {
    const file = localPath(uri);
    if (file === undefined) return undefined;
    for (const { folder, label } of this.roots()) {
      const inside = path.relative(folder, file);
      if (inside === '' || inside.startsWith('..') || path.isAbsolute(inside)) continue;
      const slashes = inside.split(path.sep).join('/');
      return label === null ? slashes : `${label}/${slashes}`;
    }
    return undefined;
  }
}

function localPath(uri: string): string | undefined {
  try {
    return uri.startsWith('file:') ? fileURLToPath(uri) : undefined;
  } catch {
    return undefined;
  }
}
