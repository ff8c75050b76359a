/**
 * From a question to a prompt that is known to fit: facts about what it names, the turns that there is room for, what of the
 * repository goes along, and what changed in it since the conversation was last told.
 */
import type { ChatEngine } from '../chat/chat-engine.ts';
import { type Choice, NO_CHOICE } from '../context/choice.ts';
import { type JournalEntry, untold } from '../context/journal.ts';
import type { Focus, RepositoryContext, Snapshot, UnsavedText } from '../context/pack.ts';
import type { Packed } from '../context/packed.ts';
import type { PackedFile } from '../context/packed-file.ts';
import type { Engine } from '../engine/engine.ts';
import { answerReserve, ContextFullError, fitTurns } from '../prompt/budget.ts';
import { imagePositions, type PromptTurn } from '../prompt/chat-prompt.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { ImageLibrary, ImageReference } from './image-library.ts';
import { TurnFacts, type TurnWithFacts } from './turn-facts.ts';

/** A turn as it was asked; its images are named, not shown. */
export interface QuestionTurn extends Omit<PromptTurn, 'images'> {
  readonly images?: readonly ImageReference[];
}

export interface ChatQuestion {
  /** Oldest first; the last one is the user's question. */
  readonly turns: readonly QuestionTurn[];
  /** Null to talk without a repository. */
  readonly repository: RepositoryContext | null;
  readonly unsaved?: readonly UnsavedText[];
  readonly choice?: Choice;
  /** What the person has in front and open. */
  readonly focus?: Focus;
}

export interface TokenUse {
  readonly contextLength: number;
  readonly repository: number;
  readonly conversation: number;
  readonly reserved: number;
}

/** A prompt that is known to fit. */
export interface Plan {
  readonly turns: readonly PromptTurn[];
  /** Of the repository, as it was read at first; null without one. */
  readonly files: readonly PackedFile[] | null;
  readonly packed: Packed | null;
  readonly tokenUse: TokenUse;
  readonly notes: readonly string[];
  /** Mentions that stand for nothing. */
  readonly unknown: readonly string[];
  /** What comes of the repository does not depend on the question: another one will begin with the same. */
  readonly lasting: boolean;
  /** The first messages, which no longer fit. */
  readonly forgotten: number;
}

export interface PlanRequest {
  readonly engine: Engine;
  readonly chat: ChatEngine;
  readonly signal: AbortSignal;
  /** Files looked at, of how many. */
  readonly onProgress: (done: number, total: number) => void;
}

const FULL_ADVICE = 'Shorten it, attach less, or choose a model with a longer context.';
const FULL_OF_IMAGES = 'Attach fewer images, or without details, or choose a model with a longer context.';
const FACTS_SHARE = 1 / 4;
/** A line of facts, about. */
const TOKENS_OF_FACT = 32;

export class Planner {
  private readonly images: ImageLibrary;
  private readonly facts = new TurnFacts();
  /** What the last question saw, kept as long as it serves, so that the prompt's head stays the same. */
  private kept: {
    readonly repository: RepositoryContext;
    readonly engine: Engine;
    readonly packed: Packed;
  } | null = null;

  /** `images`: where the images lie that questions name. */
  constructor(images: ImageLibrary) {
    this.images = images;
  }

  /** Throws ContextFullError, WorkspaceError, NoImageTower, ImageUnknownError, or the signal's reason. */
  async plan(question: ChatQuestion, request: PlanRequest): Promise<Plan> {
    const { engine, chat } = request;
    const { repository } = question;
    const inRepository = repository !== null;
    const { contextLength } = chat;
    const reserved = answerReserve(contextLength);
    const room = contextLength - reserved;
    const asked = mergeSameRole(question.turns.map((turn) => this.withImages(turn, engine)));
    const snapshot = repository && (await this.read(repository, question, request));
    const { turns, unknown } = await this.withFacts(asked, repository, snapshot, request);
    const perTurn = chat
      .countTurns(turnsOf(turns), inRepository)
      .map((tokens, i) => tokens + tokensOf(turns[i]!.told));
    const last = perTurn.at(-1) ?? 0;
    if (last > room) throw questionTooLong(engine, turns.at(-1)!.turn, asked.at(-1)!, last, room);
    // With a repository, earlier turns may take half the room; the question itself may take what it needs.
    const { first } = fitTurns(perTurn, inRepository ? Math.max(last, Math.floor(room / 2)) : room);
    const kept = turns.slice(first);
    // What was adjusted at load (a lowered context) is said once, with the first answer of a conversation.
    const notes = [
      ...(turns.length === 1 ? engine.notes : []),
      ...(first > 0 ? [droppedNote(first)] : []),
      ...unknown.map(unknownNote),
    ];
    const conversation = sum(chat.countTurns(turnsOf(kept), inRepository));
    if (conversation > room) {
      throw new ContextFullError('The question takes', conversation, room, 'Shorten it or attach less.');
    }
    const plan = { notes, unknown, forgotten: first };
    if (!repository) {
      const tokenUse = { contextLength, repository: 0, conversation, reserved };
      return { ...plan, turns: turnsOf(kept), files: null, packed: null, tokenUse, lasting: false };
    }
    const told = kept.flatMap((turn) => turn.told);
    const space = { contextLength, room, conversation };
    const packed = await this.pack(
      question,
      repository,
      { ...space, told: tokensOf(told) },
      snapshot,
      request,
    ).catch((error: unknown) => {
      // What was said before takes room too.
      const earlier = question.turns.length - 1;
      if (!(error instanceof ContextFullError) || earlier === 0) throw error;
      throw error.offering({ kind: 'turns', name: String(earlier), tokens: conversation - last });
    });
    const stands = this.previous(repository, engine)?.head.files === packed.head.files;
    const changes = this.withChanges(asked, kept, packed, stands, engine);
    return {
      ...plan,
      turns: changes.turns,
      files: packed.head.files,
      packed,
      lasting: packed.whole || packed.continued,
      tokenUse: { contextLength, repository: packed.head.tokens + changes.tokens, conversation, reserved },
    };
  }

  /** The next question shall see what `plan` saw, as far as it serves. */
  keep({ repository }: ChatQuestion, engine: Engine, { packed }: Plan): void {
    if (repository && packed) this.kept = { repository, engine, packed };
  }

  private withImages({ images = [], ...turn }: QuestionTurn, engine: Engine): PromptTurn {
    return images.length === 0 ? turn : { ...turn, images: this.images.shown(engine, images) };
  }

  private read(
    repository: RepositoryContext,
    { unsaved = [], choice = NO_CHOICE }: ChatQuestion,
    { signal, onProgress }: PlanRequest,
  ): Promise<Snapshot> {
    return repository.read({ unsaved, choice, signal, onProgress });
  }

  /** Facts may take a quarter of the context; a question that names more than that names no place in particular. */
  private async withFacts(
    turns: readonly PromptTurn[],
    repository: RepositoryContext | null,
    snapshot: Snapshot | null,
    { engine, chat }: PlanRequest,
  ): Promise<{ readonly turns: readonly TurnWithFacts[]; readonly unknown: readonly string[] }> {
    if (!repository || !snapshot) return { turns: turns.map((turn) => ({ turn, told: [] })), unknown: [] };
    const most = Math.floor((chat.contextLength * FACTS_SHARE) / TOKENS_OF_FACT);
    let unknown: readonly string[] = [];
    const head = this.previous(repository, engine)?.head.files ?? null;
    const withFacts = await this.facts.add(turns, head, async (text) => {
      const mentions = await repository.mentioned(text, snapshot);
      unknown = mentions.unknown;
      const facts = await repository.facts(text, snapshot);
      return {
        index: facts.slice(0, most),
        mentioned: mentions.files.filter((file) => !this.showsWhole(repository, file)),
      };
    });
    return { turns: withFacts, unknown };
  }

  private async pack(
    question: ChatQuestion,
    repository: RepositoryContext,
    space: {
      readonly contextLength: number;
      readonly room: number;
      readonly conversation: number;
      readonly told: number;
    },
    snapshot: Snapshot | null,
    { engine, signal, onProgress }: PlanRequest,
  ): Promise<Packed> {
    // Room for a few more turns is left free, so that the next question need not change what comes before it.
    const forConversation = Math.max(space.conversation, Math.floor(space.contextLength / 8));
    return repository.pack({
      tokenizer: engine.tokenizer,
      budget: Math.max(0, space.room - forConversation),
      // What is told already may no longer hold, and then takes its room beside the journal.
      ceiling: Math.max(0, space.room - space.conversation - space.told),
      question: questionText(question.turns),
      unsaved: question.unsaved ?? [],
      ...(question.choice && { choice: question.choice }),
      ...(question.focus && { focus: question.focus }),
      ...(snapshot && { snapshot }),
      previous: this.previous(repository, engine),
      signal,
      onProgress,
    });
  }

  /** Each question with what it tells of changes; what was told after a head that no longer `stands` is dropped. */
  private withChanges(
    asked: readonly PromptTurn[],
    turns: readonly TurnWithFacts[],
    packed: Packed,
    stands: boolean,
    engine: Engine,
  ): { readonly turns: readonly PromptTurn[]; readonly tokens: number } {
    const told = turns.map((turn) => (stands ? turn.told : []));
    const now = untold(engine.tokenizer, packed.journal, told.flat());
    this.facts.tell(asked, packed.head.files, now);
    const telling = told.with(-1, now);
    return {
      turns: turns.map(({ turn }, i) => ({
        ...turn,
        ...(telling[i]!.length > 0 && { changes: telling[i]!.map(({ text }) => text) }),
      })),
      tokens: tokensOf(telling.flat()),
    };
  }

  private previous(repository: RepositoryContext, engine: Engine): Packed | null {
    const { kept } = this;
    return kept && kept.repository === repository && kept.engine === engine ? kept.packed : null;
  }

  /** The head of the prompt has this very text already: a mention then only points to it. */
  private showsWhole(repository: RepositoryContext, { path, text }: PromptFile): boolean {
    if (this.kept?.repository !== repository) return false;
    return this.kept.packed.files.some((file) => file.path === path && !file.lines && file.text === text);
  }
}

function questionTooLong(
  { tokenizer }: Engine,
  { attachments = [], images = [] }: PromptTurn,
  asked: PromptTurn,
  needed: number,
  room: number,
): ContextFullError {
  const mentioned = attachments.length - (asked.attachments?.length ?? 0);
  const offers = [
    ...attachments.map((file, i) => ({
      kind: i < mentioned ? ('mention' as const) : ('attachment' as const),
      name: file.path,
      tokens: tokenizer.encode(file.text).length,
    })),
    ...images.map((image) => ({
      kind: 'image' as const,
      name: image.name,
      tokens: imagePositions(tokenizer, image),
    })),
  ];
  return images.length === 0
    ? new ContextFullError('The question takes', needed, room, FULL_ADVICE, offers)
    : new ContextFullError('The question with its images takes', needed, room, FULL_OF_IMAGES, offers);
}

/** Gemma's form alternates roles; a question whose answer never came is joined with the next. */
function mergeSameRole(turns: readonly PromptTurn[]): PromptTurn[] {
  const merged: PromptTurn[] = [];
  for (const turn of turns) {
    const before = merged.at(-1);
    if (before?.role !== turn.role) merged.push(turn);
    else {
      const attachments = [...(before.attachments ?? []), ...(turn.attachments ?? [])];
      const images = [...(before.images ?? []), ...(turn.images ?? [])];
      const text = `${before.text}\n\n${turn.text}`;
      merged[merged.length - 1] = { role: turn.role, text, attachments, images };
    }
  }
  return merged;
}

/** The question, and the one before it for what "it" and "there" refer to. */
function questionText(turns: readonly QuestionTurn[]): readonly string[] {
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

function turnsOf(turns: readonly TurnWithFacts[]): PromptTurn[] {
  return turns.map(({ turn }) => turn);
}

function tokensOf(entries: readonly JournalEntry[]): number {
  return entries.reduce((total, { tokens }) => total + tokens, 0);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
