/** Every message between the context panel and the extension host. */

import type { ContextChoice, ContextReport, ReadingAhead } from '../sidecar/protocol/context-types.ts';

export type ContextPageMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'refresh' }
  /** `path` is relative to the workspace, with forward slashes. */
  | { readonly type: 'open-file'; readonly path: string }
  /** null lets the sidecar decide again. */
  | { readonly type: 'choose'; readonly path: string; readonly choice: 'pinned' | 'dropped' | null }
  /** Lets the person pick a file or folder to pin that the treemap does not show. */
  | { readonly type: 'add' };

export type ContextHostMessage =
  | { readonly type: 'report'; readonly report: ContextReport; readonly choice: ContextChoice }
  /** How far the reading in the background is; the report that follows its end says what is cached then. */
  | { readonly type: 'reading-ahead'; readonly progress: ReadingAhead }
  /** Why there is no report, in a sentence. */
  | { readonly type: 'problem'; readonly message: string };
