/** A part of the language server: registers its handlers, states its capabilities, and is merged by server.ts. */
import type { Connection, InitializeParams, ServerCapabilities } from 'vscode-languageserver/node';
import type { ModelHost } from '../session/model-host.ts';
import type { Documents } from './documents.ts';
import type { Workspace } from './workspace.ts';

export interface ServerContext {
  readonly connection: Connection;
  readonly host: ModelHost;
  readonly documents: Documents;
  readonly workspace: Workspace;
}

export interface Feature {
  /** Called once, during the initialize request. */
  initialize(params: InitializeParams): ServerCapabilities;
  /** Called once the client is ready for notifications. */
  initialized?(): void;
}
