/** One interface for whatever answers a conversation: our own engine today, a server that speaks OpenAI's protocol later. */

import type { PromptTurn } from '../prompt/chat-prompt.ts';
import type { PromptFile } from '../prompt/file-block.ts';

export interface ChatMessageRequest {
  readonly turns: readonly PromptTurn[];
  /** Null sends no repository along. */
  readonly files: readonly (PromptFile & { readonly ids?: ArrayLike<number> })[] | null;
  readonly maxTokens: number;
  readonly seed?: number;
  readonly temperature?: number;
  readonly signal?: AbortSignal;
}

/** Why prompt tokens from `position` on were read rather than reused, with the pieces where an earlier prompt differed. */
export interface ReadReason {
  readonly reason: 'new' | 'changed' | 'longer' | 'forgotten' | 'part-of-block';
  readonly position: number;
  readonly differs?: { readonly position: number; readonly before: string; readonly now: string };
}

export type ChatEvent =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'reading'; readonly done: number; readonly total: number; readonly cached: number }
  /** New text of the answer; `generated` tokens so far. */
  | { readonly kind: 'delta'; readonly text: string; readonly generated: number }
  | {
      readonly kind: 'end';
      /** 'repetition': the answer went round in circles and was ended. */
      readonly reason: 'end' | 'length' | 'repetition' | 'cancelled';
      readonly text: string;
      readonly promptTokens: number;
      readonly cachedTokens: number;
      /** How many of them came from disk. */
      readonly diskTokens: number;
      /** Why not more were reused; null if all that could be were. */
      readonly miss: ReadReason | null;
      /** Prompt tokens whose KV is kept now. */
      readonly keptTokens: number;
      readonly generatedTokens: number;
      readonly prefillMs: number;
      readonly decodeMs: number;
    };

export interface ChatEngine {
  readonly contextLength: number;
  /** Tokens of the conversation's turns, as they would stand in the prompt, and of the frame around them. */
  countTurns(turns: readonly PromptTurn[], inRepository: boolean): readonly number[];
  /** The last event is always 'end'. */
  answer(request: ChatMessageRequest): AsyncGenerator<ChatEvent, void, void>;
}
