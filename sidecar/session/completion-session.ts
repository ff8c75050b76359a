/** Ghost text for one editor: waits for a pause, drops what is overtaken, remembers results, trims what the model says. */

import { RepetitionWatch } from '../chat/repetition.ts';
import { visibleText } from '../chat/visible-text.ts';
import type { Engine } from '../engine/engine.ts';
import { completionPrompt } from '../prompt/completion-prompt.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { ModelHost } from './model-host.ts';
import { relatedParts } from './related-parts.ts';
import { trimCompletion } from './trim-completion.ts';

export interface CompletionQuestion {
  readonly prefix: string;
  readonly suffix: string;
  /** Other open documents. */
  readonly others?: readonly PromptFile[];
}

/** A pause in typing shorter than this asks for nothing. */
const DEBOUNCE_MS = 75;
const REMEMBERED = 64;
const MAX_TOKENS = 96;
/** Code that repeats itself for so long is not written by people; a list of zeros that is, they copy. */
const LOOP_TOKENS = 24;
/** Reading more takes longer than anybody waits for ghost text. */
const PROMPT_TOKENS = 1024;

export class CompletionSession {
  private readonly host: ModelHost;
  private readonly results = new Map<string, string>();
  private engine: Engine | null = null;
  private previous: AbortController | null = null;

  constructor(host: ModelHost) {
    this.host = host;
  }

  /** Empty when there is nothing to suggest, when overtaken, or while no model is ready. */
  async complete(question: CompletionQuestion, signal: AbortSignal): Promise<string> {
    this.previous?.abort();
    const abort = new AbortController();
    this.previous = abort;
    const either = AbortSignal.any([signal, abort.signal]);
    if (this.host.state.kind !== 'ready') return '';
    const { engine } = this.host.state;
    if (engine !== this.engine) this.results.clear();
    this.engine = engine;
    const known = this.recall(question);
    if (known !== undefined) return known;
    await pause(DEBOUNCE_MS, either);
    if (either.aborted) return '';
    const text = await this.host.use(either, (loaded, stop) => complete(loaded, question, stop));
    if (either.aborted) return '';
    this.remember(question, text);
    return text;
  }

  /** A result for this place, or for the place before the user typed the first characters of it. */
  private recall({ prefix, suffix }: CompletionQuestion): string | undefined {
    const exact = this.results.get(key(prefix, suffix));
    if (exact !== undefined) return exact;
    for (let typed = 1; typed <= 32 && typed <= prefix.length; typed++) {
      const before = this.results.get(key(prefix.slice(0, -typed), suffix));
      const tail = prefix.slice(-typed);
      if (before?.startsWith(tail) && before.length > tail.length) return before.slice(tail.length);
    }
    return undefined;
  }

  private remember({ prefix, suffix }: CompletionQuestion, text: string): void {
    this.results.set(key(prefix, suffix), text);
    if (this.results.size > REMEMBERED) this.results.delete(this.results.keys().next().value!);
  }
}

/**
 * The whole completion at once, as the command line and the editor show it. Empty where the model goes round in circles; a
 * last line that it did not finish within the limit is left out.
 */
export async function complete(
  engine: Engine,
  { prefix, suffix, others = [] }: CompletionQuestion,
  signal?: AbortSignal,
): Promise<string> {
  const budget = Math.min(PROMPT_TOKENS, engine.contextLength - MAX_TOKENS);
  const prompt = completionPrompt(engine.tokenizer, prefix, suffix, budget, relatedParts(prefix, others));
  const decoder = engine.tokenizer.decoder();
  const stop = new AbortController();
  const repetition = new RepetitionWatch(LOOP_TOKENS);
  let text = '';
  let unfinished = false;
  const events = engine.generate(prompt.ids, {
    maxTokens: MAX_TOKENS,
    sampling: { temperature: 0 },
    stopIds: prompt.stopIds,
    priority: 'completion',
    signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
  });
  for await (const event of events) {
    if (event.kind === 'end') unfinished = event.reason === 'length';
    if (event.kind !== 'token') continue;
    if (repetition.push(event.id)) {
      stop.abort();
      return '';
    }
    text += decoder.push(event.id);
    // Nothing after the first blank line, or after the line where the block closes, would be shown.
    if (trimCompletion(text, prefix, suffix).complete) stop.abort();
  }
  text += decoder.end();
  if (unfinished) text = text.slice(0, text.lastIndexOf('\n') + 1);
  return visibleText(trimCompletion(text, prefix, suffix).text);
}

function key(prefix: string, suffix: string): string {
  return `${prefix.slice(-2048)}\u0000${suffix.slice(0, 512)}`;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
