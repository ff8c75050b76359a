/** One question to its answer: what of the repository goes along, the prompt, the stream, the account of it. */
import type { ChatEngine, ChatEvent, ReadReason } from '../chat/chat-engine.ts';
import { GemmaChat } from '../chat/gemma.ts';
import { type Choice, NO_CHOICE } from '../context/choice.ts';
import type { LeftOut } from '../context/files.ts';
import type { Packed, RepositoryContext, UnsavedText } from '../context/pack.ts';
import type { Engine } from '../engine/engine.ts';
import { answerReserve, ContextFullError, fitTurns } from '../prompt/budget.ts';
import type { PromptTurn } from '../prompt/chat-prompt.ts';
import { type Citation, findCitations } from '../prompt/citations.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { ModelHost } from './model-host.ts';
import { TimeLeft } from './time-left.ts';
import { TurnFacts } from './turn-facts.ts';

export interface ChatQuestion {
  /** Oldest first; the last one is the user's question. */
  readonly turns: readonly PromptTurn[];
  /** Null to talk without a repository. */
  readonly repository: RepositoryContext | null;
  readonly unsaved?: readonly UnsavedText[];
  readonly choice?: Choice;
}

export type ChatPhase = 'waiting' | 'loading' | 'gathering' | 'reading' | 'answering';

export interface TokenUse {
  readonly contextLength: number;
  readonly repository: number;
  readonly conversation: number;
  readonly reserved: number;
}

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

const FULL_ADVICE = 'Shorten it, attach less, or choose a model with a longer context.';
const FACTS_SHARE = 1 / 4;
/** A line of facts, about. */
const TOKENS_OF_FACT = 32;

/** A prompt that is known to fit. */
interface Plan {
  readonly turns: readonly PromptTurn[];
  readonly packed: Packed | null;
  readonly tokenUse: TokenUse;
  readonly notes: readonly string[];
  /** Mentions that stand for nothing. */
  readonly unknown: readonly string[];
}

/** What a question would send, and how much of that is there already. */
export interface Preview {
  readonly promptTokens: number;
  /** Prompt length after rules and files; 0 without a repository. */
  readonly repositoryEnd: number;
  readonly packed: Packed | null;
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

const SILENT: ChatSink = { progress: () => {}, delta: () => {} };

export class ChatSession {
  private readonly host: ModelHost;
  private readonly facts = new TurnFacts();
  /** Made anew when another model is loaded. */
  private chat: { readonly engine: Engine; readonly gemma: GemmaChat } | null = null;
  /** What the last question saw, kept as long as it serves, so that the prompt's head stays the same. */
  private kept: {
    readonly repository: RepositoryContext;
    readonly engine: Engine;
    readonly packed: Packed;
  } | null = null;

  constructor(host: ModelHost) {
    this.host = host;
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
    const plan = await this.plan(engine, chat, question, SILENT, signal);
    const prompt = chat.prompt(plan.turns, plan.packed?.files ?? null);
    const cached = await engine.lookUp(prompt.ids);
    const toRead = prompt.ids.length - cached.memory - cached.disk;
    const speed = this.host.speed.prefillTokensPerSecond;
    return {
      promptTokens: prompt.ids.length,
      repositoryEnd: prompt.repositoryEnd,
      packed: plan.packed,
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

  private async answer(
    engine: Engine,
    question: ChatQuestion,
    sink: ChatSink,
    signal: AbortSignal,
  ): Promise<ChatAnswer> {
    const chat = this.chatFor(engine);
    const plan = await this.plan(engine, chat, question, sink, signal);
    if (question.repository && plan.packed)
      this.kept = { repository: question.repository, engine, packed: plan.packed };
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
    return answerOf(end, plan, this.host.takeNotices());
  }

  private async plan(
    engine: Engine,
    chat: ChatEngine,
    question: ChatQuestion,
    sink: ChatSink,
    signal: AbortSignal,
  ): Promise<Plan> {
    const { contextLength } = chat;
    const reserved = answerReserve(contextLength);
    const room = contextLength - reserved;
    const { turns, unknown } = await this.withFacts(question, contextLength, sink, signal);
    const perTurn = chat.countTurns(turns, question.repository !== null);
    const last = perTurn.at(-1) ?? 0;
    if (last > room) {
      const attached = turns.at(-1)?.attachments ?? [];
      const mentioned = attached.length - (question.turns.at(-1)?.attachments?.length ?? 0);
      const offers = attached.map((file, i) => ({
        kind: i < mentioned ? ('mention' as const) : ('attachment' as const),
        name: file.path,
        tokens: engine.tokenizer.encode(file.text).length,
      }));
      throw new ContextFullError('The question takes', last, room, FULL_ADVICE, offers);
    }
    // With a repository, earlier turns may take half the room; the question itself may take what it needs.
    const forTurns = question.repository ? Math.max(last, Math.floor(room / 2)) : room;
    const { first } = fitTurns(perTurn, forTurns);
    const kept = turns.slice(first);
    // What was adjusted at load (a lowered context) is said once, with the first answer of a conversation.
    const notes = [
      ...(turns.length === 1 ? engine.notes : []),
      ...(first > 0 ? [droppedNote(first)] : []),
      ...unknown.map(unknownNote),
    ];
    const conversation = sum(chat.countTurns(kept, question.repository !== null));
    if (conversation > room) {
      throw new ContextFullError('The question takes', conversation, room, 'Shorten it or attach less.');
    }
    const packed = question.repository
      ? await this.pack(
          engine,
          question,
          question.repository,
          { contextLength, room, conversation },
          sink,
          signal,
        )
      : null;
    return {
      turns: kept,
      packed,
      tokenUse: { contextLength, repository: packed?.tokens ?? 0, conversation, reserved },
      notes,
      unknown,
    };
  }

  /** Facts may take a quarter of the context; a question that names more than that names no place in particular. */
  private async withFacts(
    question: ChatQuestion,
    contextLength: number,
    sink: ChatSink,
    signal: AbortSignal,
  ): Promise<{ readonly turns: PromptTurn[]; readonly unknown: readonly string[] }> {
    const { repository, unsaved = [], choice = NO_CHOICE } = question;
    const turns = mergeSameRole(question.turns);
    if (!repository) return { turns, unknown: [] };
    const onProgress = (done: number, total: number) => sink.progress({ phase: 'gathering', done, total });
    const most = Math.floor((contextLength * FACTS_SHARE) / TOKENS_OF_FACT);
    const request = { unsaved, choice, signal, onProgress };
    let unknown: readonly string[] = [];
    const withFacts = await this.facts.add(turns, async (text) => {
      const mentions = await repository.mentioned(text, request);
      unknown = mentions.unknown;
      const facts = await repository.facts(text, request);
      return {
        index: facts.slice(0, most),
        mentioned: mentions.files.filter((file) => !this.showsWhole(repository, file)),
      };
    });
    return { turns: withFacts, unknown };
  }

  private async pack(
    engine: Engine,
    question: ChatQuestion,
    repository: RepositoryContext,
    space: { readonly contextLength: number; readonly room: number; readonly conversation: number },
    sink: ChatSink,
    signal: AbortSignal,
  ): Promise<Packed> {
    // Room for a few more turns is left free, so that the next question need not change what comes before it.
    const forConversation = Math.max(space.conversation, Math.floor(space.contextLength / 8));
    const { kept } = this;
    const previous = kept && kept.repository === repository && kept.engine === engine ? kept.packed : null;
    const packed = await repository.pack({
      tokenizer: engine.tokenizer,
      budget: Math.max(0, space.room - forConversation),
      ceiling: Math.max(0, space.room - space.conversation),
      question: questionText(question.turns),
      unsaved: question.unsaved ?? [],
      ...(question.choice && { choice: question.choice }),
      previous,
      signal,
      onProgress: (done, total) => sink.progress({ phase: 'gathering', done, total }),
    });
    return packed;
  }

  /** The head of the prompt has this very text already: a mention then only points to it. */
  private showsWhole(repository: RepositoryContext, { path, text }: PromptFile): boolean {
    if (this.kept?.repository !== repository) return false;
    return this.kept.packed.files.some((file) => file.path === path && !file.lines && file.text === text);
  }

  private async stream(chat: ChatEngine, plan: Plan, sink: ChatSink, signal: AbortSignal): Promise<End> {
    const promptTokens = plan.tokenUse.repository + plan.tokenUse.conversation;
    const timeLeft = new TimeLeft(this.host.speed.prefillTokensPerSecond);
    const events = chat.answer({
      turns: plan.turns,
      files: plan.packed?.files ?? null,
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

function attachedFiles({ turns }: Plan): PromptFile[] {
  return turns.flatMap(({ attachments }) => attachments ?? []);
}

/** Gemma's form alternates roles; a question whose answer never came is joined with the next. */
function mergeSameRole(turns: readonly PromptTurn[]): PromptTurn[] {
  const merged: PromptTurn[] = [];
  for (const turn of turns) {
    const before = merged.at(-1);
    if (before?.role !== turn.role) merged.push(turn);
    else {
      const attachments = [...(before.attachments ?? []), ...(turn.attachments ?? [])];
      merged[merged.length - 1] = { role: turn.role, text: `${before.text}\n\n${turn.text}`, attachments };
    }
  }
  return merged;
}

/** The question, and the one before it for what "it" and "there" refer to. */
function questionText(turns: readonly PromptTurn[]): readonly string[] {
  return turns
    .filter((t) => t.role === 'user')
    .slice(-2)
    .map((t) => t.text)
    .reverse();
}

function droppedNote(turns: number): string {
  return (
    `The first ${turns} messages of this conversation no longer fit the model's context and were not read. ` +
    'Start a new chat to begin afresh.'
  );
}

function unknownNote(mention: string): string {
  return `${mention} names no file or folder that can be read here.`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
