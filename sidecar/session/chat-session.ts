/** One question to its answer: what of the repository goes along, the prompt, the stream, the account of it. */
import type { ChatEngine, ChatEvent, ReadReason } from '../chat/chat-engine.ts';
import { GemmaChat } from '../chat/gemma.ts';
import { decisionOn, NO_CHOICE } from '../context/choice.ts';
import type { LeftOut } from '../context/files.ts';
import type { Packed } from '../context/packed.ts';
import type { Engine } from '../engine/engine.ts';
import type { ChatPrompt } from '../prompt/chat-prompt.ts';
import { type Citation, findCitations } from '../prompt/citations.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { ImageLibrary } from './image-library.ts';
import type { ModelHost } from './model-host.ts';
import { type ChatQuestion, type Plan, Planner, type TokenUse } from './prompt-plan.ts';
import type { AheadRequest } from './read-ahead.ts';
import { TimeLeft } from './time-left.ts';

export type ChatPhase = 'waiting' | 'loading' | 'gathering' | 'reading' | 'answering';

export interface ChatSessionProgress {
  readonly phase: ChatPhase;
  readonly done: number;
  readonly total: number;
  readonly cachedTokens?: number;
  readonly secondsLeft?: number;
  readonly tokensPerSecond?: number;
  readonly tokenUse?: TokenUse;
  readonly fileCount?: number;
}

export interface ChatSink {
  progress(progress: ChatSessionProgress): void;
  /** Awaited, so that a reader who is slow slows the stream rather than fills memory. */
  delta(text: string): Promise<void> | void;
}

export interface AnsweredFile {
  readonly path: string;
  readonly tokens: number;
  readonly lines?: { readonly first: number; readonly last: number };
  readonly as?: 'outline' | 'changed' | 'mention' | 'added';
}

export interface ChatAnswer {
  readonly text: string;
  readonly stopReason: 'end' | 'length' | 'repetition' | 'cancelled';
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** How many of them came from disk. */
  readonly restoredTokens: number;
  /** Why not more were reused; absent if all that could be were. */
  readonly cacheMiss?: ReadReason;
  readonly generatedTokens: number;
  /** Tokens of prompt and answer whose KV is kept: after a cancel, what was read before it. */
  readonly keptTokens: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly tokenUse: TokenUse;
  readonly files: readonly AnsweredFile[];
  readonly leftOut: readonly LeftOut[];
  readonly citations: readonly Citation[];
  readonly notes: readonly string[];
}

/** With the prompt tokens that were read or reused. */
type End = Extract<ChatEvent, { kind: 'end' }> & { readonly read: number };

/** Tokens an answer may take where there is room for more than its reserve; a model that finds no end is stopped there. */
const LONG_ANSWER = 1024;

/** What a question would send, and how much of that is there already. */
export interface Preview {
  readonly promptTokens: number;
  /** Prompt length after rules and files; 0 without a repository. */
  readonly repositoryEnd: number;
  readonly packed: Packed | null;
  /** Another question would begin with the same. */
  readonly lasting: boolean;
  /** The first messages of the conversation, which no longer fit. */
  readonly forgotten: number;
  readonly tokenUse: TokenUse;
  readonly cachedInMemory: number;
  readonly cachedOnDisk: number;
  readonly toRead: number;
  /** Absent until a speed has been measured. */
  readonly seconds?: number;
  readonly unknownMentions: readonly string[];
  readonly memory: ReturnType<Engine['memory']>;
  readonly notes: readonly string[];
}

/** Fewer tokens than these are read with the question in hardly more time. */
const WORTH_READING = 16;

export class ChatSession {
  private readonly host: ModelHost;
  private readonly planner: Planner;
  /** The conversation that was last answered. */
  private latest: Pick<ChatQuestion, 'repository' | 'turns'> | null = null;
  private draft: ChatQuestion | null = null;
  /** Made anew when another model is loaded. */
  private chat: { readonly engine: Engine; readonly gemma: GemmaChat } | null = null;

  /** `images`: where the images lie that questions name. */
  constructor(host: ModelHost, images: ImageLibrary) {
    this.host = host;
    this.planner = new Planner(images);
  }

  /** A cancelled question is an answer too: with the text so far, and `stopReason` says so. */
  async ask(question: ChatQuestion, sink: ChatSink, signal: AbortSignal): Promise<ChatAnswer> {
    if (this.host.state.kind === 'loading') {
      sink.progress({ phase: 'loading', done: Math.round(100 * this.host.state.progress), total: 100 });
    }
    let stopped: AbortSignal = signal;
    try {
      return await this.host.use(signal, (engine, either) => {
        stopped = either;
        return this.answer(engine, question, sink, either);
      });
    } catch (error) {
      if (stopped.aborted) return CANCELLED_BEFORE_READING;
      throw error;
    }
  }

  /** What sending a draft would cost. Reads files as `ask` does, and computes nothing. Throws ContextFullError. */
  async preview(question: ChatQuestion, signal: AbortSignal): Promise<Preview> {
    const engine = await this.host.engine();
    const chat = this.chatFor(engine);
    const plan = await this.planner.plan(question, { engine, chat, signal, onProgress: () => {} });
    const prompt = chat.prompt(plan.turns, plan.files);
    const cached = await engine.lookUp(prompt.ids);
    const toRead = prompt.ids.length - cached.memory - cached.disk;
    const speed = this.host.speed.prefillTokensPerSecond;
    return {
      promptTokens: prompt.ids.length,
      repositoryEnd: prompt.repositoryEnd,
      packed: plan.packed,
      lasting: plan.lasting,
      forgotten: plan.forgotten,
      tokenUse: plan.tokenUse,
      cachedInMemory: cached.memory,
      cachedOnDisk: cached.disk,
      toRead,
      ...(speed !== undefined && { seconds: toRead / speed }),
      unknownMentions: plan.unknown,
      memory: engine.memory(),
      notes: plan.notes,
    };
  }

  /**
   * A question that may be sent next: where what it will begin with depends on its words, that is read ahead for it. Whether it is
   * another one than before.
   */
  drafted(question: ChatQuestion): boolean {
    const same = JSON.stringify(question.turns) === JSON.stringify(this.draft?.turns);
    this.draft = question;
    return !same;
  }

  /**
   * Reads what the next question about a repository will begin with, in a new conversation and in the one that was last answered,
   * as background work. Where that depends on the question, pinned files, which come first, and what a draft would begin with.
   * `question` has no turns of its own. When the signal fires it ends, and what was read is kept.
   */
  async readAhead(
    question: Omit<ChatQuestion, 'turns'>,
    { engine, signal, onProgress }: AheadRequest,
  ): Promise<void> {
    const chat = this.chatFor(engine);
    const latest = this.latest?.repository === question.repository ? this.latest.turns : [];
    for (const before of latest.length > 0 ? [latest, []] : [[]]) {
      const asked = { ...question, turns: [...before, { role: 'user' as const, text: '' }] };
      const plan = await this.planner.plan(asked, { engine, chat, signal, onProgress: () => {} });
      const prompt = chat.prompt(plan.turns, plan.files);
      if (plan.lasting) this.planner.keep(asked, engine, plan);
      const end = plan.lasting ? prompt.questionStart : pinnedEnd(plan, prompt, question.choice);
      await this.readPrompt(engine, prompt, end, signal, onProgress);
      if (!plan.lasting) break;
    }
    const { draft } = this;
    if (draft === null || draft.repository !== question.repository || signal.aborted) return;
    const asked = { ...question, ...(draft.focus && { focus: draft.focus }), turns: draft.turns };
    try {
      const plan = await this.planner.plan(asked, { engine, chat, signal, onProgress: () => {} });
      const prompt = chat.prompt(plan.turns, plan.files);
      await this.readPrompt(engine, prompt, prompt.questionStart, signal, onProgress);
    } catch (error) {
      // What cannot be sent any more, because a picture is gone or a file grew, is not tried again.
      if (!signal.aborted) this.draft = null;
      throw error;
    }
  }

  private async readPrompt(
    engine: Engine,
    { ids, repositoryEnd, images }: ChatPrompt,
    end: number,
    signal: AbortSignal,
    onProgress: AheadRequest['onProgress'],
  ): Promise<void> {
    if (end < WORTH_READING) return;
    const prompt = ids.subarray(0, end);
    const { memory } = await engine.lookUp(prompt);
    if (signal.aborted || memory > prompt.length - WORTH_READING) return;
    const events = engine.generate(prompt, {
      // Those of the question are not part of it.
      images: images.filter(({ position }) => position < end),
      // What would come next is nobody's business here, but nothing less can be asked for.
      maxTokens: 1,
      sampling: { temperature: 0 },
      priority: 'background',
      keepAt: [Math.min(repositoryEnd, end), end],
      signal,
    });
    for await (const event of events) {
      if (event.kind === 'prefill') onProgress({ done: event.done, total: event.total });
      if (event.kind === 'end' && event.reason !== 'cancelled') {
        this.host.measure({
          prefilled: event.promptTokens - event.cachedTokens,
          prefillMs: event.prefillMs,
          generated: 0,
          decodeMs: 0,
        });
      }
    }
  }

  private async answer(
    engine: Engine,
    question: ChatQuestion,
    sink: ChatSink,
    signal: AbortSignal,
  ): Promise<ChatAnswer> {
    const chat = this.chatFor(engine);
    const onProgress = (done: number, total: number) => sink.progress({ phase: 'gathering', done, total });
    const plan = await this.planner.plan(question, { engine, chat, signal, onProgress });
    this.planner.keep(question, engine, plan);
    this.latest = null;
    this.draft = null;
    sink.progress({
      phase: 'reading',
      done: 0,
      total: plan.tokenUse.repository + plan.tokenUse.conversation,
      tokenUse: plan.tokenUse,
      fileCount: plan.packed?.files.length ?? 0,
    });
    const end = await this.stream(chat, plan, sink, signal);
    this.host.measure({
      prefilled: end.promptTokens - end.cachedTokens,
      prefillMs: end.prefillMs,
      generated: end.generatedTokens,
      decodeMs: end.decodeMs,
    });
    const model = { role: 'model' as const, text: end.text };
    this.latest = { repository: question.repository, turns: [...question.turns, model] };
    return answerOf(end, plan, this.host.takeNotices());
  }

  private async stream(chat: ChatEngine, plan: Plan, sink: ChatSink, signal: AbortSignal): Promise<End> {
    const promptTokens = plan.tokenUse.repository + plan.tokenUse.conversation;
    const timeLeft = new TimeLeft(this.host.speed.prefillTokensPerSecond);
    const events = chat.answer({
      turns: plan.turns,
      files: plan.files,
      maxTokens: Math.max(
        1,
        Math.min(plan.tokenUse.contextLength - promptTokens, Math.max(plan.tokenUse.reserved, LONG_ANSWER)),
      ),
      signal,
    });
    let end: End | undefined;
    let read = 0;
    for await (const event of events) {
      switch (event.kind) {
        case 'waiting':
          sink.progress({ phase: 'waiting', done: 0, total: promptTokens });
          break;
        case 'reading': {
          read = event.done;
          const secondsLeft = timeLeft.after(event.done, event.total, event.cached, performance.now());
          const { speed } = timeLeft;
          sink.progress({
            phase: 'reading',
            done: event.done,
            total: event.total,
            cachedTokens: event.cached,
            ...(secondsLeft !== undefined && { secondsLeft }),
            ...(speed !== undefined && { tokensPerSecond: speed }),
          });
          break;
        }
        case 'delta':
          if (event.text !== '') await sink.delta(event.text);
          if (event.generated === 1)
            sink.progress({ phase: 'answering', done: 1, total: plan.tokenUse.reserved });
          break;
        case 'end':
          end = { ...event, read };
          break;
        default:
          event satisfies never;
      }
    }
    if (!end) throw new Error('The engine ended its stream without saying why.');
    return end;
  }

  private chatFor(engine: Engine): GemmaChat {
    if (this.chat?.engine !== engine) this.chat = { engine, gemma: new GemmaChat(engine) };
    return this.chat.gemma;
  }
}

const CANCELLED_BEFORE_READING: ChatAnswer = {
  text: '',
  stopReason: 'cancelled',
  promptTokens: 0,
  cachedTokens: 0,
  restoredTokens: 0,
  generatedTokens: 0,
  keptTokens: 0,
  prefillMs: 0,
  decodeMs: 0,
  tokenUse: { contextLength: 0, repository: 0, conversation: 0, reserved: 0 },
  files: [],
  leftOut: [],
  citations: [],
  notes: [],
};

function answerOf(end: End, plan: Plan, notices: readonly string[]): ChatAnswer {
  const files = plan.packed?.files ?? [];
  return {
    text: end.text,
    stopReason: end.reason,
    promptTokens: end.promptTokens,
    cachedTokens: end.cachedTokens,
    restoredTokens: end.diskTokens,
    ...(end.miss && { cacheMiss: end.miss }),
    generatedTokens: end.generatedTokens,
    keptTokens: end.read + end.generatedTokens,
    prefillMs: end.prefillMs,
    decodeMs: end.decodeMs,
    tokenUse: plan.tokenUse,
    files: files.map(({ path, tokens, lines, as }) => ({
      path,
      tokens,
      ...(lines && { lines }),
      ...(as && { as }),
    })),
    leftOut: plan.packed?.leftOut ?? [],
    citations: findCitations(end.text, [...new Set([...files, ...attachedFiles(plan)].map((f) => f.path))]),
    notes: [...plan.notes, ...notices],
  };
}

/** Prompt length after the pinned files, which stand before all that depends on the question; 0 without any. */
function pinnedEnd({ packed, files }: Plan, { repositoryEnd }: ChatPrompt, choice = NO_CHOICE): number {
  if (!packed || !files) return 0;
  const others = files.findIndex(({ path }) => decisionOn(choice, path) !== 'pinned');
  const pinned = files.slice(0, others < 0 ? files.length : others);
  const tokens = pinned.reduce((sum, file) => sum + file.tokens, 0);
  return tokens === 0 ? 0 : repositoryEnd - packed.head.tokens + tokens;
}

function attachedFiles({ turns }: Plan): PromptFile[] {
  return turns.flatMap(({ attachments }) => attachments ?? []);
}
