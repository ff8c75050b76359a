/**
 * Every message of ours between editor and sidecar, on one screen. Standard LSP methods (initialize,
 * textDocument/inlineCompletion, didOpen, ...) keep their own types. ARCHITECTURE.md documents this file.
 *
 *   editor -> sidecar   requests       gemma/chat  gemma/status  gemma/models  gemma/selectModel
 *   sidecar -> editor   notifications  gemma/chatProgress  gemma/chatDelta  gemma/statusChanged
 *
 * A chat is cancelled with LSP's own $/cancelRequest; its result then has `stopReason: 'cancelled'`.
 */

export interface RequestMethod<_Params, _Result> {
  readonly kind: 'request';
  readonly method: `gemma/${string}`;
}
export interface NotificationMethod<_Params> {
  readonly kind: 'notification';
  readonly method: `gemma/${string}`;
}

// ---- initialize ----

/** `initializationOptions` of the initialize request; powerful settings come only this way, never from a workspace. */
export interface InitializationOptions {
  /** GGUF file; absent means the built-in model. */
  readonly modelPath?: string;
  /** Context length in tokens; absent means what the model supports and memory allows. */
  readonly contextLength?: number;
  readonly threads?: number;
  /** False in Restricted Mode: the workspace is then not read. */
  readonly workspaceTrusted: boolean;
  readonly completionEnabled: boolean;
}

// ---- chat ----

export interface ChatTurn {
  readonly role: 'user' | 'model';
  readonly text: string;
  /** What was attached to this question when it was asked. */
  readonly attachments?: readonly ChatAttachment[];
}

export interface ChatParams {
  /** Chosen by the editor, unique; ties notifications to this request. */
  readonly requestId: string;
  /** The conversation so far, oldest first; the last turn is the user's question. */
  readonly turns: readonly ChatTurn[];
  /** Send the repository along (default) or only the conversation. */
  readonly useRepository: boolean;
  /** What the editor attaches to this question: the selection, a file. */
  readonly attachments?: readonly ChatAttachment[];
}

export interface ChatAttachment {
  readonly kind: 'selection' | 'file';
  /** Workspace-relative path with forward slashes. */
  readonly path: string;
  /** From 1. */
  readonly startLine: number;
  readonly text: string;
}

/** A file in the prompt, or the part of one that `lines` names. */
export interface ContextFile {
  readonly path: string;
  readonly tokens: number;
  /** 1-based, inclusive; absent for a whole file. */
  readonly lines?: { readonly first: number; readonly last: number };
}

/** A file, or the rest of one, that is not in the prompt, and why. */
export interface LeftOutFile {
  readonly path: string;
  readonly reason:
    | 'budget'
    | 'binary'
    | 'generated'
    | 'large'
    | 'secret'
    | 'lock-file'
    | 'link'
    | 'unreadable';
  readonly tokens?: number;
}

/** `path:line` in an answer, resolved to a file of the prompt; `start` and `end` are UTF-16 offsets in the text. */
export interface AnswerCitation {
  readonly start: number;
  readonly end: number;
  readonly path: string;
  readonly line: number;
}

export interface TokenUse {
  readonly contextLength: number;
  readonly repository: number;
  readonly conversation: number;
  /** Tokens set aside for the answer. */
  readonly reserved: number;
}

export interface ChatResult {
  readonly requestId: string;
  readonly text: string;
  /** 'repetition': the answer went round in circles and was ended. */
  readonly stopReason: 'end' | 'length' | 'repetition' | 'cancelled';
  readonly promptTokens: number;
  /** Prompt tokens whose KV was reused rather than read. */
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly tokenUse: TokenUse;
  readonly files: readonly ContextFile[];
  readonly leftOut: readonly LeftOutFile[];
  readonly citations: readonly AnswerCitation[];
  /** Sentences for a person about what the model did not see: earlier turns that no longer fit, and the like. */
  readonly notes: readonly string[];
}

export interface ChatProgress {
  readonly requestId: string;
  /** gathering: files; reading: prompt tokens; answering: generated tokens; waiting: behind another request. */
  readonly phase: 'waiting' | 'loading' | 'gathering' | 'reading' | 'answering';
  readonly done: number;
  readonly total: number;
  readonly cachedTokens?: number;
  readonly secondsLeft?: number;
  /** Sent once, when the prompt is known. */
  readonly tokenUse?: TokenUse;
  readonly fileCount?: number;
}

export interface ChatDelta {
  readonly requestId: string;
  readonly text: string;
}

// ---- status ----

export interface ModelInfo {
  readonly name: string;
  readonly path: string;
  readonly builtIn: boolean;
  readonly parameters: number;
  readonly fileBytes: number;
  readonly contextLength: number;
  readonly quantisation: string;
  /** In a list of models: the longest context that fits in memory that is free now; 0 if the model does not fit. */
  readonly fittingContext?: number;
  /** The program that keeps the file, where that is another one. */
  readonly source?: 'ollama' | 'lm-studio' | 'llama.cpp' | 'hugging-face';
}

export interface Status {
  readonly state: 'starting' | 'loading' | 'ready' | 'busy' | 'failed' | 'no-model';
  /** 0..1 while loading. */
  readonly progress?: number;
  readonly model?: ModelInfo;
  readonly backend?: string;
  readonly contextLength?: number;
  readonly prefillTokensPerSecond?: number;
  readonly decodeTokensPerSecond?: number;
  readonly weightsBytes?: number;
  readonly kvBytes?: number;
  /** A sentence for a person: what is wrong and what to do. Present when state is failed or no-model. */
  readonly error?: string;
}

export interface SelectModelParams {
  /** null is the built-in model. */
  readonly path: string | null;
}

const request = <P, R>(method: `gemma/${string}`): RequestMethod<P, R> => ({ kind: 'request', method });
const notification = <P>(method: `gemma/${string}`): NotificationMethod<P> => ({
  kind: 'notification',
  method,
});

export const ChatRequest = request<ChatParams, ChatResult>('gemma/chat');
export const StatusRequest = request<null, Status>('gemma/status');
export const ModelsRequest = request<null, readonly ModelInfo[]>('gemma/models');
export const SelectModelRequest = request<SelectModelParams, Status>('gemma/selectModel');
export const ChatProgressNotification = notification<ChatProgress>('gemma/chatProgress');
export const ChatDeltaNotification = notification<ChatDelta>('gemma/chatDelta');
export const StatusChangedNotification = notification<Status>('gemma/statusChanged');
