/** A part of the language server: registers its handlers, states its capabilities, and is merged by server.ts. */
import type { InitializeParams, ServerCapabilities } from 'vscode-languageserver/node';

export interface Feature {
  /** Called once, during the initialize request. */
  initialize(params: InitializeParams): ServerCapabilities;
  /** Called once the client is ready for notifications. */
  initialized?(): void;
}
