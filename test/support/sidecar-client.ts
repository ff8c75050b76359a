/** Starts a real sidecar process and speaks LSP with it, in either encoding. */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { after } from 'node:test';
import { pathToFileURL } from 'node:url';
import { createMessageConnection, type MessageConnection } from 'vscode-jsonrpc';
// Installs the runtime that vscode-jsonrpc's common part asks for.
import 'vscode-jsonrpc/node';
import { createCodec } from '../../sidecar/protocol/codec.ts';
import { SERVE_ARGUMENTS } from '../../sidecar/protocol/launch.ts';
import type {
  ChatDelta,
  ChatProgress,
  InitializationOptions,
  Status,
} from '../../sidecar/protocol/methods.ts';
import { privateCache } from './private-cache.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const SCRIPTED_SIDECAR = path.join(ROOT, 'test/support/scripted-sidecar.ts');
export const REAL_SIDECAR = path.join(ROOT, 'sidecar/main.ts');

/** A failed test leaves its process behind, which would keep the test run waiting. */
const started: ChildProcess[] = [];
after(() => {
  for (const child of started) child.kill('SIGKILL');
});

export interface ClientOptions {
  readonly program?: string;
  readonly packed?: boolean;
  /** Replies on a descriptor of their own, as the extension asks, or on stdout, as any other client. */
  readonly ownDescriptor?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
  readonly folders?: readonly string[];
  readonly initializationOptions?: Partial<InitializationOptions>;
  readonly arguments?: readonly string[];
}

export class SidecarClient {
  readonly child: ChildProcess;
  readonly connection: MessageConnection;
  readonly deltas: ChatDelta[] = [];
  readonly progress: ChatProgress[] = [];
  readonly statuses: Status[] = [];
  /** What the process wrote to stderr, and to stdout where that is not the protocol. */
  log = '';
  private readonly waiting: { readonly test: () => boolean; readonly resolve: () => void }[] = [];

  private constructor(child: ChildProcess, connection: MessageConnection) {
    this.child = child;
    this.connection = connection;
    connection.onNotification('gemma/chatDelta', (d: ChatDelta) => this.note(() => this.deltas.push(d)));
    connection.onNotification('gemma/chatProgress', (p: ChatProgress) =>
      this.note(() => this.progress.push(p)),
    );
    connection.onNotification('gemma/statusChanged', (s: Status) => this.note(() => this.statuses.push(s)));
  }

  static async start(options: ClientOptions = {}): Promise<SidecarClient> {
    const own = options.ownDescriptor ?? true;
    const args = [...(own ? SERVE_ARGUMENTS : ['serve']), ...(options.arguments ?? [])];
    const child = spawn(process.execPath, [options.program ?? SCRIPTED_SIDECAR, ...args], {
      stdio: ['pipe', 'pipe', 'pipe', ...(own ? (['pipe'] as const) : [])],
      env: { ...process.env, ...privateCache(), ...options.environment },
    });
    started.push(child);
    const replies = (own ? child.stdio[3] : child.stdout) as Readable;
    const { reader, writer } = createCodec(replies, child.stdin as Writable, {
      peerReadsPacked: options.packed ?? true,
    });
    const connection = createMessageConnection(reader, writer);
    const client = new SidecarClient(child, connection);
    child.stderr?.on('data', (chunk: Buffer) => client.note(() => (client.log += chunk.toString())));
    if (own) child.stdout?.on('data', (chunk: Buffer) => client.note(() => (client.log += chunk.toString())));
    connection.listen();
    await connection.sendRequest('initialize', {
      processId: process.pid,
      rootUri: null,
      capabilities: {},
      workspaceFolders: (options.folders ?? []).map((folder) => ({
        uri: pathToFileURL(folder).href,
        name: path.basename(folder),
      })),
      initializationOptions: {
        workspaceTrusted: true,
        completionEnabled: true,
        // Work of its own accord would come between what a test counts.
        readAhead: false,
        ...options.initializationOptions,
      },
    });
    await connection.sendNotification('initialized', {});
    return client;
  }

  /** Resolves once `test` holds; it is tried after every message. */
  until(test: () => boolean): Promise<void> {
    if (test()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ test, resolve }));
  }

  async stop(): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const exited = new Promise<number | null>((resolve) => this.child.once('exit', resolve));
    await this.connection.sendRequest('shutdown');
    await this.connection.sendNotification('exit');
    const code = await exited;
    this.connection.dispose();
    return code;
  }

  private note(change: () => void): void {
    change();
    for (const waiter of this.waiting.filter((w) => w.test())) {
      this.waiting.splice(this.waiting.indexOf(waiter), 1);
      waiter.resolve();
    }
  }
}
