/**
 * Every message between the chat page and the extension host. Both sides switch over these unions exhaustively, so a
 * new message that nobody handles does not compile. Messages of the page that can fail carry an `id`; the host answers
 * each of them with exactly one `reply`.
 */

import type { DropOffer, Mention } from '../sidecar/protocol/context-types.ts';
import type { Region } from './picture.ts';
import type { ChatEvent, ChatState, FixAction } from './state.ts';

/** What a message to the sidecar holds; larger pictures are shrunk first. */
export const MAX_SENT_PIXELS = 16_000_000;

/** Sources of diagrams that the page draws itself. */
export type DiagramLanguage = 'mermaid' | 'plantuml' | 'drawio';

/** Pixels as the page's browser decoded them: RGBA, straight alpha, row by row from the top. */
export interface DecodedPicture {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly rgba: ArrayBuffer;
  /** A small PNG. */
  readonly thumbnail: ArrayBuffer;
  readonly notes: readonly string[];
}

// ---- page -> host ----

/** Messages that are answered by a `reply` with the same id. */
export type PageRequest =
  | { readonly type: 'ask'; readonly question: string }
  | { readonly type: 'regenerate' }
  | { readonly type: 'stop' }
  | { readonly type: 'new-chat' }
  /** Opens the context panel. */
  | { readonly type: 'show-context' }
  /** `place` as `placeOf` names it. */
  | { readonly type: 'detach'; readonly place: string }
  /** What sending this question would cost comes as an event. */
  | { readonly type: 'preview'; readonly question: string }
  /** Mentions that fit what stands behind the @; they come as a message of their own. */
  | { readonly type: 'complete-mention'; readonly query: string }
  /** Sends what the mention stands for along with the question. */
  | { readonly type: 'attach-mention'; readonly kind: AttachedMention }
  /** Takes something away so that the question fits; a mention is taken from the text by the page itself. */
  | { readonly type: 'drop'; readonly kind: Exclude<DropOffer['kind'], 'mention'>; readonly name: string }
  /** A picture, either of the page's own (pasted, dropped) or one that `decode` asked for by its key. */
  | { readonly type: 'attach-picture'; readonly key: string; readonly picture: DecodedPicture }
  /** A picture that `decode` asked for cannot be used. */
  | { readonly type: 'picture-refused'; readonly key: string; readonly message: string }
  /** Lets the person choose files to attach. */
  | { readonly type: 'choose-pictures' }
  | { readonly type: 'remove-picture'; readonly key: string }
  /** Asks for the pixels, which come as a message of their own. */
  | { readonly type: 'view-picture'; readonly key: string }
  /** Sends only a part; null sends the whole again. */
  | {
      readonly type: 'choose-region';
      readonly key: string;
      readonly region: Region | null;
      readonly thumbnail: ArrayBuffer;
    }
  | { readonly type: 'read-details'; readonly key: string; readonly details: boolean }
  | { readonly type: 'encode-again'; readonly key: string }
  | { readonly type: 'copy'; readonly text: string }
  | { readonly type: 'insert'; readonly text: string }
  /** `path` is relative to the workspace, with forward slashes; lines count from 1. */
  | { readonly type: 'open-file'; readonly path: string; readonly line: number; readonly endLine?: number }
  | { readonly type: 'open-link'; readonly url: string }
  | { readonly type: 'fix'; readonly action: FixAction };

/** Mentions whose text the editor gives. */
export type AttachedMention = 'selection' | 'problems' | 'terminal';

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
  /** A question to put into the input, unless something is written there. */
  | { readonly type: 'draft'; readonly question: string }
  /** The file of a picture, for the page to decode; it answers with `attach-picture` or `picture-refused`. */
  | { readonly type: 'decode'; readonly key: string; readonly name: string; readonly bytes: ArrayBuffer }
  /** The source of a diagram, to be drawn; answered in the same way. */
  | {
      readonly type: 'draw';
      readonly key: string;
      readonly name: string;
      readonly language: DiagramLanguage;
      readonly source: string;
    }
  | { readonly type: 'mentions'; readonly query: string; readonly mentions: readonly Mention[] }
  | { readonly type: 'thumbnail'; readonly key: string; readonly png: ArrayBuffer }
  | {
      readonly type: 'pixels';
      readonly key: string;
      readonly width: number;
      readonly height: number;
      readonly rgba: ArrayBuffer;
    }
  | { readonly type: 'reply'; readonly id: number; readonly error?: string };
