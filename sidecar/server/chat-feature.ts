/** gemma/chat: a question in, progress and text out as notifications, the account of it as the result. */
import type { CancellationToken, InitializeParams } from 'vscode-languageserver/node';
import { RepositoryContext, type UnsavedText } from '../context/pack.ts';
import {
  type ChatDelta,
  ChatDeltaNotification,
  ChatProgressNotification,
  ChatRequest,
  type ChatResult,
} from '../protocol/methods.ts';
import { ChatSession, type ChatSink } from '../session/chat-session.ts';
import { chatFromWire, chatProgressToWire, chatResultToWire } from './chat-wire.ts';
import { toResponseError } from './errors.ts';
import type { Feature } from './feature.ts';
import type { ServerContext } from './server-context.ts';

/** Progress more often than this is noise to a person. */
const PROGRESS_INTERVAL_MS = 50;

export class ChatFeature implements Feature {
  private readonly context: ServerContext;
  private readonly session: ChatSession;
  private repository: { readonly key: string; readonly context: RepositoryContext } | null = null;

  constructor(context: ServerContext) {
    this.context = context;
    this.session = new ChatSession(context.host);
  }

  initialize(_params: InitializeParams) {
    this.context.connection.onRequest(ChatRequest.method, (params: unknown, token: CancellationToken) =>
      this.chat(params, token),
    );
    return {};
  }

  private async chat(params: unknown, token: CancellationToken): Promise<ChatResult> {
    const abort = new AbortController();
    const cancellation = token.onCancellationRequested(() => abort.abort());
    try {
      const call = chatFromWire(params);
      const { workspace } = this.context;
      const repository = call.useRepository && workspace.trusted ? this.repositoryContext() : null;
      const answer = await this.session.ask(
        { turns: call.turns, repository, unsaved: this.unsaved(), choice: call.choice },
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
    if (this.repository?.key !== key) this.repository = { key, context: new RepositoryContext(roots) };
    return this.repository.context;
  }

  private unsaved(): UnsavedText[] {
    const { documents, workspace } = this.context;
    return documents.unsaved().flatMap(({ uri, text }) => {
      const path = workspace.relative(uri);
      return path === undefined ? [] : [{ path, text }];
    });
  }
}
