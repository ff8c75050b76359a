/**
 * Every message between the chat page and the extension host. Both sides switch over these unions exhaustively, so a
 * new message that nobody handles does not compile. Messages of the page that can fail carry an `id`; the host answers
 * each of them with exactly one `reply`.
 */

import type { ChatEvent, ChatState, FixAction } from './state.ts';

// ---- page -> host ----

/** Messages that are answered by a `reply` with the same id. */
export type PageRequest =
  | { readonly type: 'ask'; readonly question: string }
  | { readonly type: 'regenerate' }
  | { readonly type: 'stop' }
  | { readonly type: 'new-chat' }
  /** `place` as `placeOf` names it. */
  | { readonly type: 'detach'; readonly place: string }
  | { readonly type: 'copy'; readonly text: string }
  | { readonly type: 'insert'; readonly text: string }
  /** `path` is relative to the workspace, with forward slashes; lines count from 1. */
  | { readonly type: 'open-file'; readonly path: string; readonly line: number; readonly endLine?: number }
  | { readonly type: 'open-link'; readonly url: string }
  | { readonly type: 'fix'; readonly action: FixAction };

export type PageMessage =
  /** The page has drawn itself and wants the state. */
  | { readonly type: 'ready' }
  | { readonly type: 'request'; readonly id: number; readonly request: PageRequest };

// ---- host -> page ----

export type HostMessage =
  /** The whole state: after `ready`. */
  | { readonly type: 'state'; readonly state: ChatState }
  /** One step of the state. */
  | { readonly type: 'event'; readonly event: ChatEvent }
  /** Put the keyboard focus on the input. */
  | { readonly type: 'focus' }
  | { readonly type: 'reply'; readonly id: number; readonly error?: string };
