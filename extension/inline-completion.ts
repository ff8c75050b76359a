/** Ghost text: the language client asks the sidecar; this decides whether it is asked at all. */

import type { Middleware } from 'vscode-languageclient/node';
import { isCompletionEnabled } from './config.ts';

/** Asks only where completion is on for the document's language and folder. Failures are logged, never shown. */
export const inlineCompletionMiddleware: Middleware = {
  provideInlineCompletionItems: (document, position, context, token, next) =>
    isCompletionEnabled(document) ? next(document, position, context, token) : [],
};
