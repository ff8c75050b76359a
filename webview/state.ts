/**
 * What the chat shows, and the one reducer that changes it. The host reduces the same events as the page: it keeps the
 * conversation while the page is hidden or reloaded, and sends it whole when the page comes back.
 */

import type { CostPreview, OverLong } from '../sidecar/protocol/context-types.ts';
import type {
  ChatProgress,
  ChatResult,
  ContextFile,
  LeftOutFile,
  Status,
  TokenUse,
} from '../sidecar/protocol/methods.ts';
import { type Picture, withEncodingEnded, withPicture } from './picture.ts';

/** What a person can do about a failure; the host carries it out. */
export type FixAction =
  | 'retry'
  | 'new-chat'
  | 'choose-model'
  | 'use-built-in-model'
  | 'restart-sidecar'
  | 'show-log'
  | 'open-settings'
  | 'open-folder'
  | 'manage-trust';

/** A sentence a person can act on. */
export interface Failure {
  readonly message: string;
  readonly fixes: readonly FixAction[];
}

/** Text that goes along with a question. */
export interface Attachment {
  /** Absent for a selection of a file. */
  readonly kind?: 'problems' | 'terminal';
  /** Relative to the workspace, with forward slashes; for problems and the terminal, a name for a person. */
  readonly path: string;
  /** From 1, inclusive. */
  readonly startLine: number;
  readonly endLine: number;
  readonly text: string;
}

export interface UserMessage {
  readonly role: 'user';
  readonly text: string;
  readonly attachments?: readonly Attachment[];
  readonly pictures?: readonly Picture[];
}

export interface ModelMessage {
  readonly role: 'model';
  readonly requestId: string;
  readonly text: string;
  readonly end: 'streaming' | 'complete' | 'length' | 'repetition' | 'stopped' | 'failed';
  readonly failure?: Failure;
  /** What the model did not see, in sentences. */
  readonly notes?: readonly string[];
  /** From a cited path as it was written to the file of the workspace that it means. */
  readonly citedPaths?: Readonly<Record<string, string>>;
  readonly speed?: AnswerSpeed;
  /** Known where an answer was stopped: what of it and its prompt need not be read again. */
  readonly keptTokens?: number;
}

export type Message = UserMessage | ModelMessage;

export interface AnswerSpeed {
  readonly generatedTokens: number;
  /** Tokens a second; 0 when nothing was generated. */
  readonly decodeTokensPerSecond: number;
  readonly prefillMs: number;
  /** Prompt tokens whose KV was reused. */
  readonly cachedTokens: number;
  readonly promptTokens: number;
}

/** What the last prompt was made of. */
export interface PromptUse {
  readonly tokenUse: TokenUse;
  readonly fileCount: number;
  /** Known when the answer has ended. */
  readonly files: readonly ContextFile[];
  readonly leftOut: readonly LeftOutFile[];
  readonly leftOutMore?: ChatResult['leftOutMore'];
}

/** The workspace as far as the chat must explain it. */
export interface Workspace {
  readonly folder: string | null;
  readonly trusted: boolean;
}

/** A process that is not there cannot report a status, so the host does it. */
export type Sidecar =
  | { readonly state: 'starting' }
  | { readonly state: 'running' }
  | { readonly state: 'restarting'; readonly reason: string }
  | { readonly state: 'stopped'; readonly failure: Failure };

export interface ChatState {
  readonly messages: readonly Message[];
  /** Progress of the answer under way; null when none is, or when its text has begun. */
  readonly progress: ChatProgress | null;
  readonly promptUse: PromptUse | null;
  /** What goes along with the next question, each place once. */
  readonly attachments: readonly Attachment[];
  /** Pictures that go along with the next question. */
  readonly pictures: readonly Picture[];
  /** What the question as it is typed would cost; null when nobody knows. */
  readonly preview: CostPreview | null;
  /** Set when the question does not fit, with what could be dropped. */
  readonly overLong: OverLong | null;
  readonly status: Status | null;
  /** Why no model can answer now, with what to do about it. */
  readonly modelFailure: Failure | null;
  readonly sidecar: Sidecar;
  readonly workspace: Workspace;
}

export type ChatEvent =
  | { readonly type: 'asked'; readonly requestId: string; readonly question: string }
  /** The last answer is thrown away and asked for again. */
  | { readonly type: 'asked-again'; readonly requestId: string }
  | { readonly type: 'progressed'; readonly progress: ChatProgress }
  | { readonly type: 'streamed'; readonly requestId: string; readonly text: string }
  | { readonly type: 'answered'; readonly result: ChatResult }
  | { readonly type: 'failed'; readonly requestId: string; readonly failure: Failure }
  /** Ended by the person, with no word from the sidecar on what it was made of. */
  | { readonly type: 'stopped'; readonly requestId: string }
  /** The question does not fit, or a picture of it cannot be read: it goes back to the input with all that went along. */
  | { readonly type: 'taken-back'; readonly requestId: string; readonly overLong: OverLong | null }
  | { readonly type: 'previewed'; readonly preview: CostPreview | null }
  /** The first so many questions and answers are forgotten. */
  | { readonly type: 'turns-dropped'; readonly turns: number }
  | { readonly type: 'cleared' }
  | { readonly type: 'attached'; readonly attachment: Attachment }
  | { readonly type: 'detached'; readonly place: string }
  | { readonly type: 'picture-attached'; readonly picture: Picture }
  /** It is told by its key, and may belong to the next question or to one that was asked. */
  | { readonly type: 'picture-changed'; readonly picture: Picture }
  | { readonly type: 'picture-removed'; readonly key: string }
  | { readonly type: 'status-changed'; readonly status: Status; readonly failure: Failure | null }
  | { readonly type: 'sidecar-changed'; readonly sidecar: Sidecar }
  | { readonly type: 'workspace-changed'; readonly workspace: Workspace };

export const INITIAL_STATE: ChatState = {
  messages: [],
  progress: null,
  promptUse: null,
  attachments: [],
  pictures: [],
  preview: null,
  overLong: null,
  status: null,
  modelFailure: null,
  sidecar: { state: 'starting' },
  workspace: { folder: null, trusted: true },
};

/** The state after `event`. Events of a request that is no longer the current one leave it as it is. */
export function reduce(state: ChatState, event: ChatEvent): ChatState {
  switch (event.type) {
    case 'asked':
      return {
        ...state,
        progress: null,
        attachments: [],
        pictures: [],
        preview: null,
        overLong: null,
        messages: [...state.messages, asked(event.question, state), emptyAnswer(event.requestId)],
      };
    case 'asked-again':
      return {
        ...state,
        progress: null,
        messages: [...withoutLastAnswer(state.messages), emptyAnswer(event.requestId)],
      };
    case 'progressed':
      return isStreaming(state, event.progress.requestId) ? progressed(state, event.progress) : state;
    case 'streamed':
      return changeAnswer(state, event.requestId, (answer) => ({
        ...answer,
        text: answer.text + event.text,
      }));
    case 'answered':
      return answered(state, event.result);
    case 'failed':
      return changeAnswer(state, event.requestId, (answer) => ({
        ...answer,
        end: 'failed',
        failure: event.failure,
      }));
    case 'stopped':
      return changeAnswer(state, event.requestId, (answer) => ({ ...answer, end: 'stopped' }));
    case 'taken-back':
      return takenBack(state, event.requestId, event.overLong);
    case 'previewed':
      return { ...state, preview: event.preview, overLong: event.preview?.overLong ?? null };
    case 'turns-dropped':
      return { ...state, messages: state.messages.slice(event.turns + (event.turns % 2)) };
    case 'cleared':
      return {
        ...INITIAL_STATE,
        status: state.status,
        modelFailure: state.modelFailure,
        sidecar: state.sidecar,
        workspace: state.workspace,
      };
    case 'attached': {
      const place = placeOf(event.attachment);
      const others = state.attachments.filter((attachment) => placeOf(attachment) !== place);
      return { ...state, attachments: [...others, event.attachment] };
    }
    case 'detached': {
      const rest = state.attachments.filter((attachment) => placeOf(attachment) !== event.place);
      return rest.length === state.attachments.length ? state : { ...state, attachments: rest };
    }
    case 'picture-attached':
      return { ...state, pictures: [...state.pictures, event.picture] };
    case 'picture-changed':
      return pictureChanged(state, event.picture);
    case 'picture-removed': {
      const rest = state.pictures.filter(({ key }) => key !== event.key);
      return rest.length === state.pictures.length ? state : { ...state, pictures: rest };
    }
    case 'status-changed':
      return { ...state, status: event.status, modelFailure: event.failure };
    case 'sidecar-changed':
      return { ...state, sidecar: event.sidecar };
    case 'workspace-changed':
      return { ...state, workspace: event.workspace };
    default:
      return event satisfies never;
  }
}

/** The one word that tests and styles go by. */
export type Activity = 'idle' | 'reading' | 'streaming' | 'error';

export function activity(state: ChatState): Activity {
  const answer = lastAnswer(state);
  if (answer?.end === 'streaming') return answer.text === '' ? 'reading' : 'streaming';
  if (answer?.end === 'failed' || standingFailure(state) !== null) return 'error';
  return 'idle';
}

/** True while an answer is under way, so that a new question has to wait. */
export function isBusy(state: ChatState): boolean {
  return lastAnswer(state)?.end === 'streaming';
}

/** What stands in the way of any answer, if something does. */
export function standingFailure(state: ChatState): Failure | null {
  return state.sidecar.state === 'stopped' ? state.sidecar.failure : state.modelFailure;
}

/** "src/price.ts:10-14": what an attachment is called, and what it is told apart by. */
export function placeOf({ kind, path, startLine, endLine }: Attachment): string {
  if (kind !== undefined) return path;
  return endLine > startLine ? `${path}:${startLine}-${endLine}` : `${path}:${startLine}`;
}

/** Answered questions, each with its answer; a failed or empty answer and its question are left out. */
export function completedExchanges(
  messages: readonly Message[],
): { readonly question: UserMessage; readonly answer: ModelMessage }[] {
  const exchanges: { question: UserMessage; answer: ModelMessage }[] = [];
  for (const [index, message] of messages.entries()) {
    if (
      message.role !== 'model' ||
      message.text === '' ||
      message.end === 'failed' ||
      message.end === 'streaming'
    )
      continue;
    const question = messages[index - 1];
    if (question?.role !== 'user') continue;
    exchanges.push({ question, answer: message });
  }
  return exchanges;
}

/** What outlives a restart of the editor. */
export type SavedChat = Pick<ChatState, 'messages' | 'promptUse'> &
  Partial<Pick<ChatState, 'attachments' | 'pictures'>> & {
    /** The next question as far as it is written; the editor loses what the page itself keeps when it reloads at once. */
    readonly draft?: string;
  };

/** The first state with a saved chat: whatever was streaming or being encoded has been cut off. */
export function restoredState(saved: SavedChat): ChatState {
  const { messages, promptUse, attachments = [], pictures = [] } = saved;
  const ended = messages.map((message): Message => {
    if (message.role === 'model')
      return message.end === 'streaming' ? { ...message, end: 'stopped' } : message;
    return message.pictures === undefined
      ? message
      : { ...message, pictures: message.pictures.map(withEncodingEnded) };
  });
  // The next question's are encoded anew: this sidecar has not seen them, and may have another model.
  const waiting = pictures.map((picture): Picture => ({ ...picture, encoding: { state: 'stopped' } }));
  return { ...INITIAL_STATE, messages: ended, promptUse, attachments, pictures: waiting };
}

export function lastQuestion(state: ChatState): UserMessage | null {
  return state.messages.findLast((message) => message.role === 'user') ?? null;
}

/** Every picture of the conversation and of the question that is being written. */
export function allPictures(state: ChatState): Picture[] {
  const asked = state.messages.flatMap((message) =>
    message.role === 'user' ? (message.pictures ?? []) : [],
  );
  return [...asked, ...state.pictures];
}

function pictureChanged(state: ChatState, changed: Picture): ChatState {
  const pictures = withPicture(state.pictures, changed);
  if (pictures !== state.pictures) return { ...state, pictures };
  if (!allPictures(state).some(({ key }) => key === changed.key)) return state;
  const messages = state.messages.map((message) =>
    message.role === 'user' && message.pictures !== undefined
      ? { ...message, pictures: withPicture(message.pictures, changed) }
      : message,
  );
  return { ...state, messages };
}

function asked(text: string, { attachments, pictures }: ChatState): UserMessage {
  return {
    role: 'user',
    text,
    ...(attachments.length > 0 && { attachments }),
    ...(pictures.length > 0 && { pictures }),
  };
}

function takenBack(state: ChatState, requestId: string, overLong: OverLong | null): ChatState {
  if (!isStreaming(state, requestId)) return state;
  const { attachments = [], pictures = [] } = lastQuestion(state) ?? {};
  return {
    ...state,
    progress: null,
    messages: state.messages.slice(0, -2),
    attachments: [...attachments, ...state.attachments],
    pictures: [...pictures, ...state.pictures],
    overLong,
  };
}

function emptyAnswer(requestId: string): ModelMessage {
  return { role: 'model', requestId, text: '', end: 'streaming' };
}

function lastAnswer(state: ChatState): ModelMessage | null {
  const last = state.messages.at(-1);
  return last?.role === 'model' ? last : null;
}

function withoutLastAnswer(messages: readonly Message[]): readonly Message[] {
  return messages.at(-1)?.role === 'model' ? messages.slice(0, -1) : messages;
}

function isStreaming(state: ChatState, requestId: string): boolean {
  const answer = lastAnswer(state);
  return answer?.requestId === requestId && answer.end === 'streaming';
}

function changeAnswer(
  state: ChatState,
  requestId: string,
  change: (answer: ModelMessage) => ModelMessage,
): ChatState {
  const answer = lastAnswer(state);
  if (answer === null || !isStreaming(state, requestId)) return state;
  return { ...state, progress: null, messages: [...state.messages.slice(0, -1), change(answer)] };
}

function progressed(state: ChatState, progress: ChatProgress): ChatState {
  const { tokenUse } = progress;
  const promptUse =
    tokenUse === undefined
      ? state.promptUse
      : {
          tokenUse,
          fileCount: progress.fileCount ?? state.promptUse?.fileCount ?? 0,
          files: [],
          leftOut: [],
        };
  return { ...state, progress, promptUse };
}

function answered(state: ChatState, result: ChatResult): ChatState {
  if (!isStreaming(state, result.requestId)) return state;
  const ends = {
    end: 'complete',
    length: 'length',
    repetition: 'repetition',
    cancelled: 'stopped',
  } as const;
  const next = changeAnswer(state, result.requestId, (answer) => ({
    ...answer,
    // A cancelled request may know less text than was already streamed; what a person has seen stays.
    text: result.text.length >= answer.text.length ? result.text : answer.text,
    end: ends[result.stopReason],
    ...(result.stopReason === 'cancelled' && { keptTokens: result.keptTokens }),
    notes: result.notes,
    citedPaths: citedPaths(result),
    speed: {
      generatedTokens: result.generatedTokens,
      decodeTokensPerSecond: result.decodeMs > 0 ? (result.generatedTokens * 1000) / result.decodeMs : 0,
      prefillMs: result.prefillMs,
      cachedTokens: result.cachedTokens,
      promptTokens: result.promptTokens,
    },
  }));
  return {
    ...next,
    promptUse: {
      tokenUse: result.tokenUse,
      fileCount: result.files.length,
      files: result.files,
      leftOut: result.leftOut,
      ...(result.leftOutMore && { leftOutMore: result.leftOutMore }),
    },
  };
}

function citedPaths({ text, citations }: ChatResult): Record<string, string> {
  return Object.fromEntries(
    citations.map(({ start, end, path }) => [
      text.slice(start, end).replace(/(:|#L|, lines? )\d+.*$/, ''),
      path,
    ]),
  );
}
