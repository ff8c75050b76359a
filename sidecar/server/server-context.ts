/** What the features of one connection share. */
import type { Connection } from 'vscode-languageserver/node';
import type { ModelHost } from '../session/model-host.ts';
import type { ReadAhead } from '../session/read-ahead.ts';
import type { Documents } from './documents.ts';
import type { Workspace } from './workspace.ts';

export interface ServerContext {
  readonly connection: Connection;
  readonly host: ModelHost;
  readonly documents: Documents;
  readonly workspace: Workspace;
  readonly readAhead: ReadAhead;
}
