/**
 * The conversation as the host holds it: asks the sidecar, reduces every step, tells the page. It outlives the page,
 * which the editor throws away whenever the view is hidden.
 */

import { randomUUID } from 'node:crypto';
import type { ContextChoice, CostPreview, OverLong } from '../sidecar/protocol/context-types.ts';
import type {
  ChatAttachment,
  ChatDelta,
  ChatImage,
  ChatParams,
  ChatProgress,
  ChatResult,
  ChatTurn,
  PreviewParams,
} from '../sidecar/protocol/methods.ts';
import type { Picture } from '../webview/picture.ts';
import {
  type Attachment,
  type ChatEvent,
  type ChatState,
  completedExchanges,
  type Failure,
  isBusy,
  lastQuestion,
  reduce,
  restoredState,
  type SavedChat,
  type UserMessage,
} from '../webview/state.ts';

/** A stopped answer is closed after this time even if the sidecar says nothing; it promises 250 ms. */
const STOP_GRACE_MS = 1_500;

export interface ChatSessionOptions {
  readonly chat: (params: ChatParams, signal: AbortSignal) => Promise<ChatResult>;
  /** What a question would cost; an error means that nobody knows. */
  readonly preview: (params: PreviewParams, signal: AbortSignal) => Promise<CostPreview>;
  /** What the person pinned and dropped. */
  readonly choice: () => ContextChoice;
  /** Resolves when all of them have been encoded; with `anew`, encodes them once more first. Aborting ends that. */
  readonly images: (
    pictures: readonly Picture[],
    options: { readonly anew: boolean; readonly signal: AbortSignal },
  ) => Promise<ChatImage[]>;
  /** True for the error of a sidecar that no longer has an image. */
  readonly isImageUnknown: (error: unknown) => boolean;
  /** What does not fit, where that is what the error says. */
  readonly overLongOf: (error: unknown) => OverLong | null;
  readonly describeFailure: (error: unknown) => Failure;
  /** The conversation of the last session, as `save` got it. */
  readonly saved: SavedChat;
  readonly save: (chat: SavedChat) => void;
  readonly onEvent: (event: ChatEvent) => void;
}

export class ChatSession {
  readonly #options: ChatSessionOptions;
  #state: ChatState;
  #draft: string;
  #previewing: AbortController | null = null;
  #running: { readonly requestId: string; readonly abort: AbortController } | null = null;

  constructor(options: ChatSessionOptions) {
    this.#options = options;
    this.#state = restoredState(options.saved);
    this.#draft = options.saved.draft ?? '';
  }

  /** The next question as the page told it last. */
  get draft(): string {
    return this.#draft;
  }

  get state(): ChatState {
    return this.#state;
  }

  /** Applies an event and passes it on, unless it changes nothing. */
  dispatch(event: ChatEvent): void {
    const next = reduce(this.#state, event);
    if (next === this.#state) return;
    this.#state = next;
    this.#options.onEvent(event);
    if (changesDraft(event)) this.#save();
  }

  /** Asks `question`; resolves when its answer has ended. A question while an answer is under way is refused. */
  async ask(question: string): Promise<void> {
    if (isBusy(this.#state)) throw new Error('An answer is under way. Stop it first.');
    await this.#run((requestId) => ({ type: 'asked', requestId, question }));
  }

  /** Answers the last question again, in place of the last answer. */
  async regenerate(): Promise<void> {
    if (lastQuestion(this.#state) === null) throw new Error('There is no question to answer again.');
    if (isBusy(this.#state)) throw new Error('An answer is under way. Stop it first.');
    await this.#run((requestId) => ({ type: 'asked-again', requestId }));
  }

  /** Has the state say what `question` would cost; a newer call ends an older one. */
  async preview(question: string): Promise<void> {
    if (question !== this.#draft) {
      this.#draft = question;
      this.#save();
    }
    this.#previewing?.abort();
    const previewing = new AbortController();
    this.#previewing = previewing;
    let preview: CostPreview | null = null;
    const state = this.#state;
    const { attachments, pictures } = state;
    if (!isBusy(state) && (question.trim() !== '' || attachments.length + pictures.length > 0)) {
      const draft = {
        role: 'user',
        text: question.trim() || 'Explain this.',
        attachments,
        pictures,
      } as const;
      const asIfAsked = { ...state, messages: [...state.messages, draft] };
      const { requestId: _, ...params } = chatParams(
        '',
        asIfAsked,
        readyImages(asIfAsked),
        this.#options.choice(),
      );
      // A sidecar that cannot say leaves the line empty; a question is never kept from being asked by that.
      preview = await this.#options.preview(params, previewing.signal).catch(() => null);
    }
    if (!previewing.signal.aborted) this.dispatch({ type: 'previewed', preview });
  }

  /** Stops the answer under way; what was streamed stays. */
  stop(): void {
    const running = this.#running;
    if (running === null) return;
    running.abort.abort();
    setTimeout(() => this.dispatch({ type: 'stopped', requestId: running.requestId }), STOP_GRACE_MS);
  }

  clear(): void {
    this.#running?.abort.abort();
    this.#running = null;
    this.dispatch({ type: 'cleared' });
    this.#save();
  }

  progressed(progress: ChatProgress): void {
    this.dispatch({ type: 'progressed', progress });
  }

  streamed(delta: ChatDelta): void {
    this.dispatch({ type: 'streamed', requestId: delta.requestId, text: delta.text });
  }

  #save(): void {
    const { messages, promptUse, attachments, pictures } = this.#state;
    this.#options.save({ messages, promptUse, attachments, pictures, draft: this.#draft });
  }

  /** Once more with images encoded anew where the sidecar has forgotten them, as after a restart. */
  async #answer(requestId: string, signal: AbortSignal): Promise<ChatResult> {
    try {
      const params = await this.#params(requestId, false, signal);
      signal.throwIfAborted();
      return await this.#options.chat(params, signal);
    } catch (error) {
      if (signal.aborted || !this.#options.isImageUnknown(error)) throw error;
      return this.#options.chat(await this.#params(requestId, true, signal), signal);
    }
  }

  /** What is sent is the conversation as it stands when the question is asked; encoding changes only its pictures. */
  async #params(requestId: string, anew: boolean, signal: AbortSignal): Promise<ChatParams> {
    const state = this.#state;
    const images = new Map<UserMessage, readonly ChatImage[]>();
    for (const question of questionsWithPictures(state))
      images.set(question, await this.#options.images(question.pictures ?? [], { anew, signal }));
    return chatParams(requestId, state, images, this.#options.choice());
  }

  /** `start` leaves the question as the last one of the state, and an answer that is to be filled. */
  async #run(start: (requestId: string) => ChatEvent): Promise<void> {
    const running = { requestId: randomUUID(), abort: new AbortController() };
    const { requestId } = running;
    this.#running = running;
    this.#previewing?.abort();
    const event = start(requestId);
    if (event.type === 'asked') this.#draft = '';
    this.dispatch(event);
    this.#save();
    try {
      const result = await this.#answer(requestId, running.abort.signal);
      this.dispatch({ type: 'answered', result });
    } catch (error) {
      const overLong = this.#options.overLongOf(error);
      if (running.abort.signal.aborted) this.dispatch({ type: 'stopped', requestId });
      else if (event.type === 'asked' && (overLong !== null || hasUnreadablePicture(this.#state))) {
        this.dispatch({ type: 'taken-back', requestId, overLong });
        throw error;
      } else this.dispatch({ type: 'failed', requestId, failure: this.#options.describeFailure(error) });
    } finally {
      if (this.#running === running) {
        this.#running = null;
        this.#save();
      }
    }
  }
}

/** What goes along with the next question is kept over a reload; how far its encoding is, is not. */
function changesDraft(event: ChatEvent): boolean {
  if (event.type === 'picture-changed') return ['ready', 'failed'].includes(event.picture.encoding.state);
  return ['attached', 'detached', 'picture-attached', 'picture-removed'].includes(event.type);
}

function hasUnreadablePicture(state: ChatState): boolean {
  return lastQuestion(state)?.pictures?.some(({ encoding }) => encoding.state === 'failed') ?? false;
}

/** The last question of `state` and everything that was answered before it; `images` gives each question's images. */
function chatParams(
  requestId: string,
  state: ChatState,
  images: ReadonlyMap<UserMessage, readonly ChatImage[]>,
  choice: ContextChoice,
): ChatParams {
  const { folder, trusted } = state.workspace;
  const question = lastQuestion(state);
  const seen = (message: UserMessage | null) => {
    const list = message && images.get(message);
    return list && list.length > 0 ? { images: list } : {};
  };
  const earlier = completedExchanges(state.messages).flatMap(({ question, answer }): ChatTurn[] => [
    { role: 'user', text: question.text, ...attached(question), ...seen(question) },
    { role: 'model', text: answer.text },
  ]);
  return {
    requestId,
    turns: [...earlier, { role: 'user', text: question?.text ?? '', ...seen(question) }],
    useRepository: trusted && folder !== null,
    ...(choice.pinned.length + choice.dropped.length > 0 && { choice }),
    ...(question !== null && attached(question)),
  };
}

/** The images that are encoded by now. */
function readyImages(state: ChatState): Map<UserMessage, ChatImage[]> {
  const ready = ({ name, details, encoding }: Picture): ChatImage[] =>
    encoding.state === 'ready' ? [{ id: encoding.imageId, name, ...(details && { details }) }] : [];
  return new Map(
    questionsWithPictures(state).map((question) => [question, (question.pictures ?? []).flatMap(ready)]),
  );
}

function questionsWithPictures(state: ChatState): UserMessage[] {
  const questions = completedExchanges(state.messages).map(({ question }) => question);
  const last = lastQuestion(state);
  return [...questions, ...(last === null ? [] : [last])].filter(({ pictures }) => pictures !== undefined);
}

function attached({ attachments = [] }: UserMessage): { attachments?: readonly ChatAttachment[] } {
  return attachments.length === 0 ? {} : { attachments: attachments.map(toWire) };
}

function toWire({ kind, path, startLine, text }: Attachment): ChatAttachment {
  return { kind: kind ?? 'selection', path, startLine, text };
}
