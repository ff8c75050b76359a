/** gemma/chat: a question in, progress and text out as notifications, the account of it as the result. */
import type { CancellationToken, InitializeParams } from 'vscode-languageserver/node';
import { type Choice, NO_CHOICE } from '../context/choice.ts';
import { PathSearch } from '../context/mentions.ts';
import { type Focus, RepositoryContext, type UnsavedText } from '../context/pack.ts';
import { ContextFullError } from '../prompt/budget.ts';
import type { ContextReport, CostPreview, Mention } from '../protocol/context-types.ts';
import {
  type ChatDelta,
  ChatDeltaNotification,
  ChatProgressNotification,
  ChatRequest,
  type ChatResult,
  ContextRequest,
  MentionsRequest,
  PreviewRequest,
} from '../protocol/methods.ts';
import { ChatSession, type ChatSink } from '../session/chat-session.ts';
import type { ImageLibrary } from '../session/image-library.ts';
import type { AheadRequest } from '../session/read-ahead.ts';
import type { CacheFeature } from './cache-feature.ts';
import { chatFromWire, chatProgressToWire, chatResultToWire, choiceFromWire, record } from './chat-wire.ts';
import {
  contextToWire,
  mentionsFromWire,
  mentionsToWire,
  overLongToWire,
  previewToWire,
} from './context-wire.ts';
import { toResponseError } from './errors.ts';
import type { Feature } from './feature.ts';
import type { ServerContext } from './server-context.ts';
import { cacheFromWire } from './status-wire.ts';

/** Progress more often than this is noise to a person. */
const PROGRESS_INTERVAL_MS = 50;

const PATHS_VALID_MS = 10_000;

export class ChatFeature implements Feature {
  private readonly context: ServerContext;
  private readonly cache: Pick<CacheFeature, 'report'>;
  private readonly session: ChatSession;
  private cacheFolder: string | null;
  /** As the client last said it. */
  private choice: Choice = NO_CHOICE;
  private repository: { readonly key: string; readonly context: RepositoryContext } | null = null;

  /** For completion of mentions; listed anew after a while. */
  private paths: {
    readonly repository: RepositoryContext;
    readonly search: PathSearch;
    readonly time: number;
  } | null = null;

  constructor(
    context: ServerContext,
    cache: Pick<CacheFeature, 'report'>,
    images: ImageLibrary,
    cacheFolder: string | null,
  ) {
    this.cacheFolder = cacheFolder;
    this.context = context;
    this.cache = cache;
    this.session = new ChatSession(context.host, images);
  }

  initialize(params: InitializeParams) {
    // Whoever wants no KV on disk wants no source text there either.
    if (cacheFromWire(params.initializationOptions) === null) this.cacheFolder = null;
    const options: unknown = params.initializationOptions;
    if (typeof options === 'object' && options !== null && 'choice' in options)
      this.choice = choiceFromWire(options.choice);
    const { connection } = this.context;
    connection.onRequest(ChatRequest.method, (params: unknown, token: CancellationToken) =>
      this.chat(params, token),
    );
    connection.onRequest(PreviewRequest.method, (params: unknown, token: CancellationToken) =>
      this.answering(token, (signal) => this.preview(params, signal)),
    );
    connection.onRequest(ContextRequest.method, (params: unknown, token: CancellationToken) =>
      this.answering(token, (signal) => this.report(params, signal)),
    );
    connection.onRequest(MentionsRequest.method, (params: unknown, token: CancellationToken) =>
      this.answering(token, (signal) => this.mentions(params, signal)),
    );
    return {};
  }

  /** What the next question will begin with, as background work. */
  async readAhead(request: AheadRequest): Promise<void> {
    const repository = this.context.workspace.trusted ? this.repositoryContext() : null;
    if (repository === null) return;
    await this.session.readAhead({ repository, unsaved: this.unsaved(), choice: this.choice }, request);
  }

  private async chat(params: unknown, token: CancellationToken): Promise<ChatResult> {
    const abort = new AbortController();
    const cancellation = token.onCancellationRequested(() => abort.abort());
    try {
      const call = chatFromWire(params);
      this.chosen(call.choice);
      const { workspace } = this.context;
      const repository = call.useRepository && workspace.trusted ? this.repositoryContext() : null;
      const answer = await this.session.ask(
        {
          turns: call.turns,
          repository,
          unsaved: this.unsaved(),
          choice: call.choice,
          focus: this.focus(call.activeFile),
        },
        this.sink(call.requestId),
        abort.signal,
      );
      return chatResultToWire(call.requestId, answer);
    } catch (error) {
      this.context.connection.console.error(
        error instanceof Error ? (error.stack ?? error.message) : String(error),
      );
      throw toResponseError(error);
    } finally {
      cancellation.dispose();
    }
  }

  private async answering<T>(
    token: CancellationToken,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const abort = new AbortController();
    const cancellation = token.onCancellationRequested(() => abort.abort());
    try {
      return await work(abort.signal);
    } catch (error) {
      throw toResponseError(error);
    } finally {
      cancellation.dispose();
    }
  }

  private async preview(params: unknown, signal: AbortSignal): Promise<CostPreview> {
    const { turns, useRepository, choice, activeFile } = chatFromWire({
      ...record(params, 'params'),
      requestId: 'preview',
    });
    const repository = useRepository && this.context.workspace.trusted ? this.repositoryContext() : null;
    try {
      const focus = this.focus(activeFile);
      const question = { turns, repository, unsaved: this.unsaved(), choice, focus };
      const preview = await this.session.preview(question, signal);
      // What is being read for another draft serves this one only in part.
      if (this.session.drafted(question) && !preview.lasting) this.context.readAhead.interrupt();
      return previewToWire(preview);
    } catch (error) {
      if (error instanceof ContextFullError) return overLongToWire(error, await this.context.host.engine());
      throw error;
    }
  }

  /** As the next question would find it: a question of one mark stands for it. */
  private async report(params: unknown, signal: AbortSignal): Promise<ContextReport> {
    const choice = choiceFromWire(record(params ?? {}, 'params')['choice']);
    this.chosen(choice);
    const repository = this.context.workspace.trusted ? this.repositoryContext() : null;
    const question = {
      turns: [{ role: 'user' as const, text: '?' }],
      repository,
      unsaved: this.unsaved(),
      choice,
    };
    const preview = await this.session.preview(question, signal);
    const cache = await this.cache.report();
    const readingAhead = this.context.readAhead.progress;
    return contextToWire(preview, { choice, cache, readingAhead, signal });
  }

  private async mentions(params: unknown, signal: AbortSignal): Promise<readonly Mention[]> {
    const { query, limit } = mentionsFromWire(params);
    const repository = this.context.workspace.trusted ? this.repositoryContext() : null;
    if (!repository) return mentionsToWire(query, null, limit, signal);
    const now = performance.now();
    if (!this.paths || this.paths.repository !== repository || now - this.paths.time > PATHS_VALID_MS) {
      this.paths = {
        repository,
        search: await PathSearch.of(await repository.list(signal), signal),
        time: now,
      };
    }
    return mentionsToWire(query, this.paths.search, limit, signal);
  }

  private chosen(choice: Choice): void {
    const same = JSON.stringify(choice) === JSON.stringify(this.choice);
    this.choice = choice;
    if (!same) this.context.readAhead.touch();
  }

  private sink(requestId: string): ChatSink {
    const { connection } = this.context;
    let lastPhase = '';
    let lastTime = 0;
    return {
      progress: (progress) => {
        const now = performance.now();
        const due = progress.phase !== lastPhase || now - lastTime >= PROGRESS_INTERVAL_MS;
        if (!due && progress.done < progress.total && !progress.tokenUse) return;
        lastPhase = progress.phase;
        lastTime = now;
        void connection.sendNotification(
          ChatProgressNotification.method,
          chatProgressToWire(requestId, progress),
        );
      },
      delta: (text) =>
        connection.sendNotification(ChatDeltaNotification.method, { requestId, text } satisfies ChatDelta),
    };
  }

  /** Kept while the same folders are open, so that counts and order are. Null without a local folder. */
  private repositoryContext(): RepositoryContext | null {
    const roots = this.context.workspace.roots();
    if (roots.length === 0) return null;
    const key = JSON.stringify(roots);
    if (this.repository?.key !== key)
      this.repository = { key, context: new RepositoryContext(roots, this.cacheFolder) };
    return this.repository.context;
  }

  private focus(activeFile: string | null): Focus {
    const { documents, workspace } = this.context;
    const active = activeFile === null ? undefined : workspace.relative(activeFile);
    const open = documents.uris().flatMap((uri) => workspace.relative(uri) ?? []);
    return { open, ...(active !== undefined && { active }) };
  }

  private unsaved(): UnsavedText[] {
    const { documents, workspace } = this.context;
    return documents.unsaved().flatMap(({ uri, text }) => {
      const path = workspace.relative(uri);
      return path === undefined ? [] : [{ path, text }];
    });
  }
}
