/** textDocument/inlineCompletion: ghost text, by LSP's own method, for any editor that speaks it. */
import type {
  CancellationToken,
  InitializeParams,
  InlineCompletionItem,
  InlineCompletionParams,
} from 'vscode-languageserver/node';
import { leftOutByName } from '../context/belongs.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import { CompletionSession } from '../session/completion-session.ts';
import type { Feature } from './feature.ts';
import type { ServerContext } from './server-context.ts';

/** More than the prompt ever holds. */
const MAX_PREFIX = 64 * 1024;
const MAX_SUFFIX = 16 * 1024;

export class CompletionFeature implements Feature {
  private readonly context: ServerContext;
  private readonly session: CompletionSession;

  constructor(context: ServerContext) {
    this.context = context;
    this.session = new CompletionSession(context.host);
  }

  initialize(params: InitializeParams) {
    const options: unknown = params.initializationOptions;
    const off =
      typeof options === 'object' &&
      options !== null &&
      'completionEnabled' in options &&
      options.completionEnabled === false;
    if (off) return {};
    this.context.connection.languages.inlineCompletion.on((request, token) => this.complete(request, token));
    return { inlineCompletionProvider: {} };
  }

  /** A failed suggestion is logged, never shown: nobody asked for it. */
  private async complete(
    { textDocument, position }: InlineCompletionParams,
    token: CancellationToken,
  ): Promise<InlineCompletionItem[]> {
    const document = this.context.documents.get(textDocument.uri);
    if (!document) return [];
    const abort = new AbortController();
    const cancellation = token.onCancellationRequested(() => abort.abort());
    try {
      const offset = document.offsetAt(position);
      const text = document.getText();
      const insertText = await this.session.complete(
        {
          prefix: text.slice(Math.max(0, offset - MAX_PREFIX), offset),
          suffix: text.slice(offset, offset + MAX_SUFFIX),
          others: this.others(textDocument.uri),
        },
        abort.signal,
      );
      return insertText.trim() === '' ? [] : [{ insertText, range: { start: position, end: position } }];
    } catch (error) {
      this.context.connection.console.warn(`Completion failed: ${String(error)}`);
      return [];
    } finally {
      cancellation.dispose();
    }
  }

  /** Only what belongs to the workspace, and only where it may be read. */
  private others(uri: string): readonly PromptFile[] {
    const { documents, workspace } = this.context;
    if (!workspace.trusted) return [];
    return documents.except(uri).flatMap((document) => {
      const path = workspace.relative(document.uri);
      if (path === undefined || leftOutByName(path, 0) !== null) return [];
      return [{ path, text: document.getText().replace(/\r\n?/g, '\n') }];
    });
  }
}
