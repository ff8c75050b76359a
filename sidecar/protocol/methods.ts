/**
 * Every message of ours between editor and sidecar, on one screen. Standard LSP methods (initialize,
 * textDocument/inlineCompletion, didOpen, ...) keep their own types. ARCHITECTURE.md documents this file.
 *
 *   editor -> sidecar   requests       gemma/chat  gemma/preview  gemma/context  gemma/mentions  gemma/encodeImage
 *                                      gemma/status  gemma/models  gemma/selectModel  gemma/cacheReport  gemma/clearCache
 *   sidecar -> editor   notifications  gemma/chatProgress  gemma/chatDelta  gemma/imageProgress  gemma/statusChanged
 *
 * A chat is cancelled with LSP's own $/cancelRequest; its result then has `stopReason: 'cancelled'`.
 */

import type {
  ContextChoice,
  ContextParams,
  ContextReport,
  CostPreview,
  LeftOutReason,
  Mention,
  MentionsParams,
  ReadingAhead,
} from './context-types.ts';

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
  /** The image tower, where it is a GGUF file of its own (mmproj); absent means one in, or beside, the model file. */
  readonly mmprojPath?: string;
  /** Context length in tokens; absent means what the model supports and memory allows. */
  readonly contextLength?: number;
  /**
   * How the KV cache keeps what lies far behind; int8 and int4 take less memory and round. 'auto' or absent: f16, exact, while
   * the context fits.
   */
  readonly kvFormat?: 'auto' | 'f16' | 'int8' | 'int4';
  /** Read only the most promising so many positions far behind: faster on long contexts, not exact. Absent: all. */
  readonly sparsePositions?: number;
  readonly threads?: number;
  /** False in Restricted Mode: the workspace is then not read. */
  readonly workspaceTrusted: boolean;
  readonly completionEnabled: boolean;
  /** Read in the background what the next question will begin with; absent: yes. */
  readonly readAhead?: boolean;
  /** What was pinned and dropped before, so that what is read ahead is what will be asked about. */
  readonly choice?: ContextChoice;
  /** KV on disk, so that a prompt is read once; absent: on, in the system's cache folder, with the default limits. */
  readonly cache?: {
    readonly enabled?: boolean;
    readonly maxGigabytes?: number;
    readonly maxDays?: number;
  };
}

// ---- chat ----

export interface ChatTurn {
  readonly role: 'user' | 'model';
  readonly text: string;
  /** What was attached to this question when it was asked. */
  readonly attachments?: readonly ChatAttachment[];
  /** Images of this question, in the order in which they stand before its text. */
  readonly images?: readonly ChatImage[];
}

export interface ChatParams {
  /** Chosen by the editor, unique; ties notifications to this request. */
  readonly requestId: string;
  /** The conversation so far, oldest first; the last turn is the user's question. */
  readonly turns: readonly ChatTurn[];
  /** Send the repository along (default) or only the conversation. */
  readonly useRepository: boolean;
  /** What the editor attaches to this question: the selection, a file, what @problems or @terminal stand for. */
  readonly attachments?: readonly ChatAttachment[];
  /** Files and folders that a person pinned or dropped. */
  readonly choice?: ContextChoice;
  /** URI of the document in front: where not everything fits, it and what else is open counts for a little more. */
  readonly activeFile?: string;
}

/** A draft, to be told what sending it would cost. */
export type PreviewParams = Omit<ChatParams, 'requestId'>;

export interface ChatAttachment {
  readonly kind: 'selection' | 'file' | 'problems' | 'terminal';
  /** Workspace-relative path with forward slashes; for problems and the terminal, a name for a person. */
  readonly path: string;
  /** From 1; ignored where `text` is no part of a file. */
  readonly startLine: number;
  readonly text: string;
}

/** An image that `gemma/encodeImage` was asked about before; one that is no longer at hand fails with ErrorCode.ImageUnknown. */
export interface ChatImage {
  /** `EncodeImageResult.id`. */
  readonly id: string;
  /** For a person: a file name, "Pasted image". */
  readonly name: string;
  /** Send the detail crops along; they were encoded with `details: true`. */
  readonly details?: boolean;
}

/** A file in the prompt, the part of one that `lines` names, or its outline. */
export interface ContextFile {
  readonly path: string;
  readonly tokens: number;
  /** Present where it is not simply part of the repository as first read. */
  readonly as?: 'outline' | 'changed' | 'mention' | 'added';
  /** 1-based, inclusive; absent for a whole file. */
  readonly lines?: { readonly first: number; readonly last: number };
}

/** A file, or the rest of one, that is not in the prompt, and why. */
export interface LeftOutFile {
  readonly path: string;
  readonly reason: LeftOutReason;
  /** Exact where it was counted, an estimate from the length otherwise. */
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

export interface CacheMiss {
  /**
   * new: nothing known begins so; changed: an earlier prompt went on otherwise; longer: than all that is known;
   * forgotten: no longer held whole; part-of-block: the disk holds whole blocks of 64 tokens, these come after the last.
   */
  readonly reason: 'new' | 'changed' | 'longer' | 'forgotten' | 'part-of-block';
  readonly position: number;
  /** Where the earlier prompt that shares most differs, and the text of the two tokens. */
  readonly differs?: { readonly position: number; readonly before: string; readonly now: string };
}

export interface ChatResult {
  readonly requestId: string;
  readonly text: string;
  /** 'repetition': the answer went round in circles and was ended. */
  readonly stopReason: 'end' | 'length' | 'repetition' | 'cancelled';
  readonly promptTokens: number;
  /** Prompt tokens whose KV was reused rather than read. */
  readonly cachedTokens: number;
  /** How many of them came from disk. */
  readonly restoredTokens?: number;
  /** Why the tokens from `position` on were read; absent if all that could be were reused. */
  readonly cacheMiss?: CacheMiss;
  readonly generatedTokens: number;
  /** Tokens of prompt and answer whose KV is kept now: after a cancel, what was read before it. */
  readonly keptTokens: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly tokenUse: TokenUse;
  readonly files: readonly ContextFile[];
  /** At most some hundred. */
  readonly leftOut: readonly LeftOutFile[];
  /** Present where there are more: how many, and how many of them for lack of room. */
  readonly leftOutMore?: { readonly files: number; readonly forRoom: number };
  readonly citations: readonly AnswerCitation[];
  /** Sentences for a person about what the model did not see: earlier turns that no longer fit, and the like. */
  readonly notes: readonly string[];
}

export interface ChatProgress {
  readonly requestId: string;
  /**
   * gathering: files; reading: prompt tokens; answering: generated tokens; waiting: behind another request.
   */
  readonly phase: 'waiting' | 'loading' | 'gathering' | 'reading' | 'answering';
  readonly done: number;
  readonly total: number;
  readonly cachedTokens?: number;
  readonly secondsLeft?: number;
  /** While reading, once known. */
  readonly tokensPerSecond?: number;
  /** Sent once, when the prompt is known. */
  readonly tokenUse?: TokenUse;
  readonly fileCount?: number;
}

export interface ChatDelta {
  readonly requestId: string;
  readonly text: string;
}

// ---- images ----

/**
 * Where an image comes from. The editor's browser decodes and sends pixels (packed: raw bytes; at most 16 million pixels,
 * as a message is at most 64 MiB). Anything else names a file, or sends the bytes of one, which the sidecar decodes: PNG,
 * JPEG, WebP, GIF (first frame), BMP, SVG, at most 50 million pixels.
 */
export type ImageSource =
  | {
      readonly kind: 'pixels';
      readonly width: number;
      readonly height: number;
      /** RGBA, 4 bytes a pixel, row by row from the top, alpha not premultiplied; orientation already applied. */
      readonly rgba: Uint8Array;
    }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** An absolute path on the sidecar's machine. */
  | { readonly kind: 'file'; readonly path: string };

/** Sent when an image is attached; runs at low priority. $/cancelRequest ends it with LSP's RequestCancelled. */
export interface EncodeImageParams {
  /** Chosen by the editor, unique; ties progress to this request. */
  readonly requestId: string;
  readonly image: ImageSource;
  /** Also encode the detail crops ("Read details"). */
  readonly details?: boolean;
}

export interface EncodeImageResult {
  readonly requestId: string;
  /** Names the decoded pixels: the same image has the same id in every session. */
  readonly id: string;
  readonly width: number;
  readonly height: number;
  /** Positions that the image takes in a prompt; with `details: true` those of the crops as well. */
  readonly tokens: number;
  /** Nothing was computed: every embedding was in the cache. */
  readonly cached: boolean;
  readonly ms: number;
  /** What "Read details" adds, where crops help at all (absent otherwise). */
  readonly details?: ImageDetails;
}

export interface ImageDetails {
  readonly crops: number;
  /** Further positions in the prompt. */
  readonly tokens: number;
  /** Further seconds, from the speed of this machine's last encoding; absent before the first. */
  readonly seconds?: number;
  /** Text of ordinary size would fall under about 6 pixels a character without crops. */
  readonly advised: boolean;
}

export interface ImageProgress {
  readonly requestId: string;
  /** waiting: behind another request; loading: the tower's weights; encoding: `layer` of `layers`, image `image` of `images`. */
  readonly phase: 'waiting' | 'loading' | 'decoding' | 'encoding';
  readonly layer: number;
  readonly layers: number;
  /** From 1; more than one `images` with crops. */
  readonly image: number;
  readonly images: number;
  readonly secondsLeft?: number;
}

/** Whether the model that is loaded can see. */
export interface ImageSupport {
  readonly available: boolean;
  /** Positions that one image takes in a prompt. */
  readonly tokens?: number;
  /** Width and height, in pixels, that the tower sees. */
  readonly imageSize?: number;
  /** A sentence for a person where not available: why, and how to get an image tower. */
  readonly reason?: string;
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
  /** Present while the repository, or what changed in it, is read in the background. */
  readonly readingAhead?: ReadingAhead;
  /** Present while a model is loaded. */
  readonly images?: ImageSupport;
  /** A sentence for a person: what is wrong and what to do. Present when state is failed or no-model. */
  readonly error?: string;
}

export interface SelectModelParams {
  /** null is the built-in model. */
  readonly path: string | null;
  /** As in {@link InitializationOptions}. */
  readonly mmprojPath?: string;
}

// ---- KV on disk ----

export interface CacheReport {
  readonly folder: string;
  readonly bytes: number;
  readonly limitBytes: number;
  /** Segment files of KV and embeddings of images, and positions of prompts that the former hold. */
  readonly entries: number;
  readonly tokens: number;
}

const request = <P, R>(method: `gemma/${string}`): RequestMethod<P, R> => ({ kind: 'request', method });
const notification = <P>(method: `gemma/${string}`): NotificationMethod<P> => ({
  kind: 'notification',
  method,
});

export const ChatRequest = request<ChatParams, ChatResult>('gemma/chat');
export const EncodeImageRequest = request<EncodeImageParams, EncodeImageResult>('gemma/encodeImage');
export const PreviewRequest = request<PreviewParams, CostPreview>('gemma/preview');
export const ContextRequest = request<ContextParams, ContextReport>('gemma/context');
export const MentionsRequest = request<MentionsParams, readonly Mention[]>('gemma/mentions');
export const StatusRequest = request<null, Status>('gemma/status');
export const ModelsRequest = request<null, readonly ModelInfo[]>('gemma/models');
export const SelectModelRequest = request<SelectModelParams, Status>('gemma/selectModel');
export const CacheReportRequest = request<null, CacheReport>('gemma/cacheReport');
export const ClearCacheRequest = request<null, { readonly freedBytes: number }>('gemma/clearCache');
export const ChatProgressNotification = notification<ChatProgress>('gemma/chatProgress');
export const ChatDeltaNotification = notification<ChatDelta>('gemma/chatDelta');
export const ImageProgressNotification = notification<ImageProgress>('gemma/imageProgress');
export const StatusChangedNotification = notification<Status>('gemma/statusChanged');
