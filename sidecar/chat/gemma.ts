/** Our own engine as a chat engine: prompt to ids, ids to events, ids to text. */
import { randomInt } from 'node:crypto';
import type { Engine, GenerateEvent, Sampling } from '../engine/engine.ts';
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { type ChatPrompt, chatPrompt, type PromptTurn } from '../prompt/chat-prompt.ts';
import type { ChatEngine, ChatEvent, ChatMessageRequest, ReadReason } from './chat-engine.ts';
import { RepetitionWatch } from './repetition.ts';
import { visibleText } from './visible-text.ts';

/** Answers whose ids are remembered, so that the next turn finds their KV again. */
const REMEMBERED_ANSWERS = 64;

/**
 * Gemma's recommended temperature of 1 suits Gemma; models of fewer parameters than the smallest Gemma, such as the built-in
 * one, spread probability over nonsense, and answer best when they say what they hold likeliest.
 */
const SMALL_MODEL = 200e6;

export class GemmaChat implements ChatEngine {
  private readonly engine: Engine;
  private readonly answers = new Map<string, readonly number[]>();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  get contextLength(): number {
    return this.engine.contextLength;
  }

  countTurns(turns: readonly PromptTurn[], inRepository: boolean): readonly number[] {
    const { turnEnds } = chatPrompt(this.engine.tokenizer, this.withIds(turns), inRepository ? [] : null);
    return turnEnds.map((end, i) => end - (turnEnds[i - 1] ?? 0));
  }

  /** The prompt that {@link answer} would read. */
  prompt(turns: readonly PromptTurn[], files: ChatMessageRequest['files']): ChatPrompt {
    return chatPrompt(this.engine.tokenizer, this.withIds(turns), files);
  }

  async *answer(request: ChatMessageRequest): AsyncGenerator<ChatEvent, void, void> {
    const { tokenizer } = this.engine;
    const prompt = this.prompt(request.turns, request.files);
    const decoder = tokenizer.decoder();
    const ids: number[] = [];
    let text = '';
    const repetition = new RepetitionWatch();
    const loop = new AbortController();
    const stream = this.engine.generate(prompt.ids, {
      images: prompt.images,
      maxTokens: request.maxTokens,
      sampling: this.sampling(request),
      stopIds: [tokenizer.special.eos, tokenizer.special.endOfTurn, tokenizer.special.startOfTurn],
      priority: 'chat',
      keepAt: placesToKeep(request.turns, prompt),
      signal: request.signal ? AbortSignal.any([request.signal, loop.signal]) : loop.signal,
    });
    for await (const event of stream) {
      switch (event.kind) {
        case 'waiting':
          yield event;
          break;
        case 'prefill':
          yield { kind: 'reading', done: event.done, total: event.total, cached: event.cached };
          break;
        case 'token': {
          if (loop.signal.aborted) break;
          ids.push(event.id);
          if (repetition.push(event.id)) loop.abort();
          const delta = visibleText(decoder.push(event.id));
          text += delta;
          yield { kind: 'delta', text: delta, generated: ids.length };
          break;
        }
        case 'end': {
          const rest = visibleText(decoder.end());
          text += rest;
          if (rest !== '') yield { kind: 'delta', text: rest, generated: ids.length };
          this.remember(text, ids);
          yield {
            ...event,
            text,
            miss: readReason(tokenizer, event.miss),
            reason: loop.signal.aborted ? 'repetition' : END_REASONS[event.reason],
          };
          break;
        }
        default:
          event satisfies never;
      }
    }
  }

  private sampling({ seed, temperature }: ChatMessageRequest): Partial<Sampling> {
    const small = this.engine.model.parameters < SMALL_MODEL;
    return {
      ...(small && { temperature: 0 }),
      ...(temperature !== undefined && { temperature }),
      seed: seed ?? randomInt(2 ** 32),
    };
  }

  private withIds(turns: readonly PromptTurn[]): readonly PromptTurn[] {
    return turns.map((turn) => {
      const ids = turn.role === 'model' ? this.answers.get(turn.text) : undefined;
      return ids ? { ...turn, ids } : turn;
    });
  }

  private remember(text: string, ids: readonly number[]): void {
    this.answers.delete(text);
    this.answers.set(text, ids);
    if (this.answers.size > REMEMBERED_ANSWERS) this.answers.delete(this.answers.keys().next().value!);
  }
}

/** Ends of the repository, of what changed in it, and of each turn. */
function placesToKeep(
  turns: readonly PromptTurn[],
  { repositoryEnd, questionStart, turnEnds }: ChatPrompt,
): number[] {
  const changesEnd = (turns.at(-1)?.changes?.length ?? 0) > 0 ? questionStart : 0;
  return [repositoryEnd, changesEnd, ...turnEnds].filter((n) => n > 0);
}

const END_REASONS = { stop: 'end', length: 'length', context: 'length', cancelled: 'cancelled' } as const;

type Miss = Extract<GenerateEvent, { kind: 'end' }>['miss'];

/** What is said where an image stood: its positions hold no token of the vocabulary. */
const PIECE_OF_IMAGE = '[image]';

/** With the text of the tokens that differ. */
export function readReason(tokenizer: Tokenizer, miss: Miss): ReadReason | null {
  if (miss === null) return null;
  const { reason, position, differs } = miss;
  const piece = (id: number) => (id < tokenizer.size ? visibleText(tokenizer.decode([id])) : PIECE_OF_IMAGE);
  return {
    reason,
    position,
    ...(differs && {
      differs: { position: differs.position, before: piece(differs.before), now: piece(differs.now) },
    }),
  };
}
