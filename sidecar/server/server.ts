/** The language server: one connection, the merged capabilities of its features, and an orderly end. */
import type { Readable, Writable } from 'node:stream';
import {
  createConnection,
  type InitializeParams,
  type InitializeResult,
  ProposedFeatures,
  type ServerCapabilities,
} from 'vscode-languageserver/node';
import { createCodec } from '../protocol/codec.ts';
import { ImageLibrary } from '../session/image-library.ts';
import { type LoadEngine, ModelHost, type ModelSettings } from '../session/model-host.ts';
import { ReadAhead } from '../session/read-ahead.ts';
import { CacheFeature } from './cache-feature.ts';
import { ChatFeature } from './chat-feature.ts';
import { CompletionFeature } from './completion-feature.ts';
import { Documents } from './documents.ts';
import type { Feature } from './feature.ts';
import { ImageFeature } from './image-feature.ts';
import { ReadAheadFeature } from './read-ahead-feature.ts';
import type { ServerContext } from './server-context.ts';
import { StatusFeature } from './status-feature.ts';
import { Workspace } from './workspace.ts';

export interface ServerOptions {
  readonly input: Readable;
  readonly output: Writable;
  readonly loadEngine: LoadEngine;
  readonly version: string;
  /** Where KV is kept on disk; null keeps none. */
  readonly cacheFolder: string | null;
  /** From the command line; what the client asks for goes before them. */
  readonly defaults: ModelSettings & { readonly modelPath?: string };
  /** The client's process, as it names it in `initialize`. */
  readonly onClientProcess?: (pid: number) => void;
}

/** Resolves with the exit code when the connection ends: 0 after `shutdown`, 1 without. */
export function runServer(options: ServerOptions): Promise<number> {
  const { reader, writer } = createCodec(options.input, options.output, { peerReadsPacked: false });
  const connection = createConnection(ProposedFeatures.all, reader, writer);
  const host = new ModelHost(options.loadEngine);
  const readAhead = new ReadAhead(
    host,
    (request) => chat.readAhead(request),
    (error) => connection.console.warn(`Reading ahead failed: ${String(error)}`),
  );
  const context: ServerContext = {
    connection,
    host,
    documents: new Documents(connection),
    workspace: new Workspace(connection),
    readAhead,
  };
  const cache = new CacheFeature(context, options.cacheFolder);
  const images = new ImageLibrary(host);
  const chat = new ChatFeature(context, cache, images, options.cacheFolder);
  const features: readonly Feature[] = [
    context.documents,
    context.workspace,
    cache,
    new StatusFeature(context, options.defaults, options.cacheFolder),
    chat,
    new ReadAheadFeature(context),
    new CompletionFeature(context),
    new ImageFeature(context, images),
  ];

  connection.onInitialize((params: InitializeParams): InitializeResult => {
    if (typeof params.processId === 'number') options.onClientProcess?.(params.processId);
    let capabilities: ServerCapabilities = {};
    for (const feature of features) capabilities = { ...capabilities, ...feature.initialize(params) };
    return { capabilities, serverInfo: { name: 'gemma-sidecar', version: options.version } };
  });
  connection.onInitialized(() => {
    for (const feature of features) feature.initialized?.();
  });

  return new Promise((resolve) => {
    let orderly = false;
    connection.onShutdown(() => {
      orderly = true;
    });
    connection.onExit(() => resolve(orderly ? 0 : 1));
    reader.onClose(() => resolve(orderly ? 0 : 1));
    writer.onClose(() => resolve(1));
    connection.listen();
  });
}
