/** The language client over the sidecar process: our methods as typed calls, its crashes as states. */

import * as vscode from 'vscode';
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  type MessageTransports,
  type Middleware,
  RevealOutputChannelOn,
  State,
} from 'vscode-languageclient/node';
import { createCodec } from '../sidecar/protocol/codec.ts';
import type {
  ContextChoice,
  ContextReport,
  CostPreview,
  Mention,
} from '../sidecar/protocol/context-types.ts';
import {
  type ChatDelta,
  ChatDeltaNotification,
  type ChatParams,
  type ChatProgress,
  ChatProgressNotification,
  ChatRequest,
  type ChatResult,
  ClearCacheRequest,
  ContextRequest,
  type EncodeImageParams,
  EncodeImageRequest,
  type EncodeImageResult,
  type ImageProgress,
  ImageProgressNotification,
  type InitializationOptions,
  MentionsRequest,
  type ModelInfo,
  ModelsRequest,
  type NotificationMethod,
  type PreviewParams,
  PreviewRequest,
  type RequestMethod,
  SelectModelRequest,
  type Status,
  StatusChangedNotification,
  StatusRequest,
} from '../sidecar/protocol/methods.ts';
import type { Sidecar } from '../webview/state.ts';
import { CrashBudget } from './crash-budget.ts';
import { crashFailure, describeExit, SidecarExitedError, SidecarStoppedError } from './failure.ts';
import { Heartbeat } from './heartbeat.ts';
import { type SidecarCommand, type SidecarExit, SidecarProcess } from './sidecar-process.ts';

/** After a connection has closed, its process has this long to say how it ended. */
const EXIT_GRACE_MS = 1_000;
const DOCUMENTS = [{ scheme: 'file' }, { scheme: 'untitled' }];

export interface SidecarClientOptions {
  readonly command: SidecarCommand;
  readonly log: vscode.LogOutputChannel;
  /** Off while the sidecar is debugged: one that stands at a breakpoint does not answer. */
  readonly endWhenHung: boolean;
  /** Read anew at each start. */
  readonly initializationOptions: () => InitializationOptions;
  readonly middleware: Middleware;
}

export class SidecarClient implements vscode.Disposable {
  readonly #options: SidecarClientOptions;
  readonly #budget = new CrashBudget();
  readonly #heartbeat = new Heartbeat({
    ping: () => this.status(),
    isPatient: () => this.#loading,
    onHang: () => this.#process?.kill('it did not answer for 8 seconds'),
  });
  #loading = false;
  #sidecar: Sidecar = { state: 'starting' };
  readonly #sidecarChanged = new vscode.EventEmitter<Sidecar>();
  readonly #statusChanged = new vscode.EventEmitter<Status>();
  readonly #chatProgressed = new vscode.EventEmitter<ChatProgress>();
  readonly #chatStreamed = new vscode.EventEmitter<ChatDelta>();
  readonly #imageProgressed = new vscode.EventEmitter<ImageProgress>();
  #client: LanguageClient | null = null;
  #process: SidecarProcess | null = null;
  #startDelayMs = 0;

  readonly onSidecarChanged = this.#sidecarChanged.event;
  readonly onStatusChanged = this.#statusChanged.event;
  readonly onChatProgressed = this.#chatProgressed.event;
  readonly onChatStreamed = this.#chatStreamed.event;
  readonly onImageProgressed = this.#imageProgressed.event;

  constructor(options: SidecarClientOptions) {
    this.#options = options;
    this.onStatusChanged(({ state }) => {
      this.#loading = state === 'starting' || state === 'loading';
    });
  }

  /** Starts the sidecar. A failure is reported through the events, never thrown. */
  async start(): Promise<void> {
    const client = this.#createClient();
    this.#client = client;
    this.#setSidecar({ state: 'starting' });
    try {
      await client.start();
    } catch (error) {
      this.#options.log.error(`The sidecar did not start: ${String(error)}`);
    }
  }

  /** True when the crash budget is spent and only a restart helps. */
  get isStopped(): boolean {
    return this.#sidecar.state === 'stopped';
  }

  /** Stops the sidecar and starts it with the settings as they are now. */
  async restart(): Promise<void> {
    this.#budget.reset();
    this.#startDelayMs = 0;
    await this.#stop();
    await this.start();
  }

  /**
   * Asks a question. Aborting ends it with a result whose `stopReason` is `cancelled`.
   * @throws SidecarExitedError when the process dies meanwhile
   */
  chat(params: ChatParams, signal: AbortSignal): Promise<ChatResult> {
    return this.#cancellable(ChatRequest, params, signal);
  }

  /** Prepares a picture, so that a question about it need not wait. Aborting rejects. */
  encodeImage(params: EncodeImageParams, signal: AbortSignal): Promise<EncodeImageResult> {
    return this.#cancellable(EncodeImageRequest, params, signal);
  }

  /** What asking would cost. Aborting rejects. */
  preview(params: PreviewParams, signal: AbortSignal): Promise<CostPreview> {
    return this.#cancellable(PreviewRequest, params, signal);
  }

  mentions(query: string): Promise<readonly Mention[]> {
    return this.#request(MentionsRequest, { query });
  }

  /** What the next question would find in the window. */
  context(choice: ContextChoice): Promise<ContextReport> {
    return this.#request(ContextRequest, { choice });
  }

  async #cancellable<P, R>(method: RequestMethod<P, R>, params: P, signal: AbortSignal): Promise<R> {
    const cancellation = new vscode.CancellationTokenSource();
    const cancel = () => cancellation.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await this.#request(method, params, cancellation.token);
    } finally {
      signal.removeEventListener('abort', cancel);
      cancellation.dispose();
    }
  }

  status(): Promise<Status> {
    return this.#request(StatusRequest, null);
  }

  models(): Promise<readonly ModelInfo[]> {
    return this.#request(ModelsRequest, null);
  }

  /** Loads another model; `null` is the built-in one. */
  selectModel(path: string | null, mmprojPath?: string): Promise<Status> {
    return this.#request(SelectModelRequest, { path, ...(mmprojPath !== undefined && { mmprojPath }) });
  }

  /** Deletes the KV of all prompts from disk; the memory of a running model is not touched. */
  clearCache(): Promise<{ readonly freedBytes: number }> {
    return this.#request(ClearCacheRequest, null);
  }

  async dispose(): Promise<void> {
    await this.#stop();
    for (const emitter of [
      this.#sidecarChanged,
      this.#statusChanged,
      this.#chatProgressed,
      this.#chatStreamed,
      this.#imageProgressed,
    ]) {
      emitter.dispose();
    }
  }

  async #request<P, R>(method: RequestMethod<P, R>, params: P, token?: vscode.CancellationToken): Promise<R> {
    await this.#untilRunning();
    const client = this.#client;
    const process = this.#process;
    if (client === null) throw new SidecarStoppedError();
    try {
      // An absent token must not be handed on: it would become a second parameter, and stand in the place of the token.
      return token === undefined
        ? await client.sendRequest<R>(method.method, params)
        : await client.sendRequest<R>(method.method, params, token);
    } catch (error) {
      const exit =
        process === null ? null : await exitWithin(process, client.isRunning() ? 0 : EXIT_GRACE_MS);
      throw exit === null ? error : new SidecarExitedError(exit);
    }
  }

  /** Waits for a start that is under way, so that a question may be asked while the sidecar comes back. */
  async #untilRunning(): Promise<void> {
    const settled = (sidecar: Sidecar) => sidecar.state === 'running' || sidecar.state === 'stopped';
    if (!settled(this.#sidecar)) {
      await new Promise<void>((resolve) => {
        const subscription = this.onSidecarChanged((sidecar) => {
          if (!settled(sidecar)) return;
          subscription.dispose();
          resolve();
        });
      });
    }
    if (this.#sidecar.state === 'stopped') throw new SidecarStoppedError();
  }

  #setSidecar(sidecar: Sidecar): void {
    this.#sidecar = sidecar;
    this.#sidecarChanged.fire(sidecar);
  }

  #createClient(): LanguageClient {
    const client: LanguageClient = new QuietLanguageClient(
      'gemmaSidecar',
      'Gemma Sidecar',
      () => this.#launch(),
      {
        documentSelector: DOCUMENTS,
        initializationOptions: this.#options.initializationOptions,
        outputChannel: this.#options.log,
        revealOutputChannelOn: RevealOutputChannelOn.Never,
        middleware: this.#options.middleware,
        initializationFailedHandler: () => false,
        errorHandler: {
          error: () => ({ action: ErrorAction.Continue, handled: true }),
          closed: () => this.#afterClose(client),
        },
      },
    );
    const listen = <P>(method: NotificationMethod<P>, emitter: vscode.EventEmitter<P>) =>
      client.onNotification(method.method, (params: P) => emitter.fire(params));
    listen(StatusChangedNotification, this.#statusChanged);
    listen(ChatProgressNotification, this.#chatProgressed);
    listen(ChatDeltaNotification, this.#chatStreamed);
    listen(ImageProgressNotification, this.#imageProgressed);
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Running && this.#client === client) void this.#afterStart();
    });
    return client;
  }

  async #launch(): Promise<MessageTransports> {
    await new Promise((resolve) => setTimeout(resolve, this.#startDelayMs));
    const { command, log } = this.#options;
    const process = new SidecarProcess(command, (line) => log.info(line));
    this.#process = process;
    log.info(`Sidecar started, process ${process.pid ?? 'unknown'}`);
    void process.exited.then((exit) => log.info(`Sidecar ended: ${describeExit(exit)}`));
    return createCodec(process.output, process.input, { peerReadsPacked: true });
  }

  async #afterStart(): Promise<void> {
    this.#setSidecar({ state: 'running' });
    if (this.#options.endWhenHung) this.#heartbeat.start();
    try {
      this.#statusChanged.fire(await this.status());
    } catch (error) {
      this.#options.log.error(`The sidecar gave no status: ${String(error)}`);
    }
  }

  async #afterClose(
    client: LanguageClient,
  ): Promise<{ action: CloseAction; handled: true; message?: string }> {
    if (this.#client !== client) return { action: CloseAction.DoNotRestart, handled: true };
    this.#heartbeat.stop();
    const process = this.#process;
    const exit = (process && (await exitWithin(process, EXIT_GRACE_MS))) ?? UNKNOWN_EXIT;
    void process?.stop();
    const delay = this.#budget.crashed(Date.now());
    if (delay === null) {
      const failure = crashFailure(exit, vscode.l10n.t);
      this.#setSidecar({ state: 'stopped', failure });
      return { action: CloseAction.DoNotRestart, handled: true, message: failure.message };
    }
    this.#startDelayMs = delay;
    this.#setSidecar({ state: 'restarting', reason: describeExit(exit) });
    return { action: CloseAction.Restart, handled: true };
  }

  async #stop(): Promise<void> {
    const client = this.#client;
    const process = this.#process;
    this.#client = null;
    this.#process = null;
    this.#heartbeat.stop();
    try {
      await client?.dispose();
    } catch (error) {
      this.#options.log.debug(`The sidecar did not shut down in order: ${String(error)}`);
    }
    await process?.stop();
  }
}

/** Failures go to the log only: what a person should know, the chat says in a sentence. */
class QuietLanguageClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

const UNKNOWN_EXIT: SidecarExit = { code: null, signal: null, lastLines: [] };

/** How the process ended, or null if it is still there after `timeoutMs`. */
function exitWithin(process: SidecarProcess, timeoutMs: number): Promise<SidecarExit | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), timeoutMs);
    void process.exited.then((exit) => {
      clearTimeout(timer);
      resolve(exit);
    });
  });
}
