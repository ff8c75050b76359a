/** Reading ahead while nothing else is wanted: when it is on, and what may have changed what is to be read. */
import {
  DidChangeWatchedFilesNotification,
  type DidChangeWatchedFilesRegistrationOptions,
  type InitializeParams,
} from 'vscode-languageserver/node';
import type { Feature } from './feature.ts';
import type { ServerContext } from './server-context.ts';

/** Changed by git and package managers themselves, many at a time; none belongs to a prompt. */
const NOT_WATCHED = /\/(?:\.git|node_modules)(?:\/|$)/;

export class ReadAheadFeature implements Feature {
  private readonly context: ServerContext;
  private enabled = true;
  private watches = false;

  constructor(context: ServerContext) {
    this.context = context;
  }

  initialize({ initializationOptions, capabilities }: InitializeParams) {
    const options: unknown = initializationOptions;
    if (typeof options === 'object' && options !== null && 'readAhead' in options) {
      this.enabled = options.readAhead !== false;
    }
    this.watches = capabilities.workspace?.didChangeWatchedFiles?.dynamicRegistration === true;
    return {};
  }

  initialized(): void {
    if (!this.enabled) return;
    const { connection, documents, workspace, readAhead } = this.context;
    documents.onEdit(() => readAhead.interrupt());
    documents.onSaveOrClose(() => readAhead.touch());
    workspace.onChange(() => readAhead.touch());
    connection.onDidChangeWatchedFiles(({ changes }) => {
      if (changes.some(({ uri }) => !NOT_WATCHED.test(uri))) readAhead.touch();
    });
    if (this.watches) {
      const options: DidChangeWatchedFilesRegistrationOptions = { watchers: [{ globPattern: '**/*' }] };
      void connection.client.register(DidChangeWatchedFilesNotification.type, options);
    }
    readAhead.start();
  }
}
