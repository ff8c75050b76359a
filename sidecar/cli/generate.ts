/** `generate`: plain generation from a prompt, streaming. */
import { readFileSync } from 'node:fs';
import { readReason } from '../chat/gemma.ts';
import type { GenerateEvent, Sampling } from '../engine/engine.ts';
import { StopStrings } from '../engine/sampler/stop-strings.ts';
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { chatPrompt } from '../prompt/chat-prompt.ts';
import { type CliContext, type Command, type OptionValues, UsageError } from './command.ts';
import { flag, integerOption, numberOption, textList, textOption } from './options.ts';

const DEFAULT_MAX_TOKENS = 256;

export const command: Command = {
  name: 'generate',
  summary: 'Goes on from a prompt; --raw applies no chat template',
  usage:
    '(--prompt S | --prompt-file F) [--max-tokens N] [--temperature T] [--top-k N] [--top-p P] [--min-p P] ' +
    '[--repetition-penalty R] [--seed S] [--stop TEXT]... [--raw]',
  options: {
    prompt: { type: 'string' },
    'prompt-file': { type: 'string' },
    'max-tokens': { type: 'string' },
    temperature: { type: 'string' },
    'top-k': { type: 'string' },
    'top-p': { type: 'string' },
    'min-p': { type: 'string' },
    'repetition-penalty': { type: 'string' },
    seed: { type: 'string' },
    stop: { type: 'string', multiple: true },
    raw: { type: 'boolean' },
  },
  async run(context) {
    const { values, signal } = context;
    const prompt = readPrompt(context);
    const maxTokens = integerOption(values, 'max-tokens', { least: 1 }) ?? DEFAULT_MAX_TOKENS;
    const sampling = readSampling(values);
    const stops = new StopStrings(textList(values, 'stop'));
    const engine = await context.loadEngine();
    try {
      const { tokenizer } = engine;
      const promptIds = encodePrompt(tokenizer, prompt, flag(values, 'raw'));
      const { eos, endOfTurn } = tokenizer.special;
      const decoder = tokenizer.decoder();
      const ids: number[] = [];
      let text = '';
      const emit = (piece: string) => {
        text += piece;
        context.print(piece);
      };
      let stopped = false;
      let end: Extract<GenerateEvent, { kind: 'end' }> | null = null;
      for await (const event of engine.generate(promptIds, {
        maxTokens,
        sampling,
        stopIds: [eos, endOfTurn],
        signal,
      })) {
        if (event.kind === 'end') end = event;
        if (event.kind === 'end' && event.reason === 'cancelled') throw new Error('Interrupted.');
        if (event.kind !== 'token') continue;
        ids.push(event.id);
        const certain = stops.push(decoder.push(event.id));
        emit(certain.text);
        stopped = certain.stopped;
        if (stopped) break;
      }
      if (!stopped) emit(stops.push(decoder.end()).text + stops.end());
      context.print('\n');
      context.result({
        ids,
        text,
        prompt_tokens: promptIds.length,
        ...(end && {
          cached_tokens: end.cachedTokens,
          disk_tokens: end.diskTokens,
          read_tokens: end.promptTokens - end.cachedTokens,
          miss: readReason(tokenizer, end.miss),
        }),
      });
    } finally {
      await engine.dispose();
    }
  },
};

function readPrompt({ values, positionals }: CliContext): string {
  const [unexpected] = positionals;
  if (unexpected !== undefined) throw new UsageError(`Unexpected argument "${unexpected}"`);
  const text = textOption(values, 'prompt');
  const file = textOption(values, 'prompt-file');
  if ((text === undefined) === (file === undefined)) {
    throw new UsageError('generate needs either --prompt or --prompt-file');
  }
  return text ?? readFileSync(file!, 'utf8');
}

function readSampling(values: OptionValues): Partial<Sampling> {
  const temperature = numberOption(values, 'temperature', { least: 0, most: 100 });
  const topK = integerOption(values, 'top-k', { least: 0 });
  const topP = numberOption(values, 'top-p', { least: 0, most: 1 });
  const minP = numberOption(values, 'min-p', { least: 0, most: 1 });
  const repetitionPenalty = numberOption(values, 'repetition-penalty', { least: 0.01, most: 100 });
  const seed = integerOption(values, 'seed', { least: 0 });
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    ...(minP !== undefined && { minP }),
    ...(repetitionPenalty !== undefined && { repetitionPenalty }),
    ...(seed !== undefined && { seed }),
  };
}

/** A raw prompt may spell control pieces: whoever asks for it builds the structure. */
function encodePrompt(tokenizer: Tokenizer, prompt: string, raw: boolean): Uint32Array | readonly number[] {
  if (!raw) return chatPrompt(tokenizer, [{ role: 'user', text: prompt }], null).ids;
  return [tokenizer.special.bos, ...tokenizer.encode(prompt, { control: 'token' })];
}
