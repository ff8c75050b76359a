/** `generate`: plain generation from a prompt, streaming. */
import { readFileSync } from 'node:fs';
import type { ReadReason } from '../chat/chat-engine.ts';
import { readReason } from '../chat/gemma.ts';
import type { Engine, GenerateEvent, Sampling } from '../engine/engine.ts';
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
    '(--prompt S | --prompt-file F | --prompts-file F.jsonl) [--max-tokens N] [--temperature T] [--top-k N] [--top-p P] [--min-p P] ' +
    '[--repetition-penalty R] [--seed S] [--stop TEXT]... [--raw]',
  options: {
    prompt: { type: 'string' },
    'prompt-file': { type: 'string' },
    'prompts-file': { type: 'string' },
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
    const { values } = context;
    const prompts = readPrompts(context);
    const many = textOption(values, 'prompts-file') !== undefined;
    const options: GenerateOptions = {
      maxTokens: integerOption(values, 'max-tokens', { least: 1 }) ?? DEFAULT_MAX_TOKENS,
      sampling: readSampling(values),
      stop: textList(values, 'stop'),
      raw: flag(values, 'raw'),
    };
    const engine = await context.loadEngine();
    try {
      const results: Generated[] = [];
      for (const prompt of prompts) {
        const result = await generate(engine, prompt, options, context.signal, (text) => {
          if (!many) context.print(text);
        });
        results.push(result);
        context.print(many ? `${JSON.stringify(result.text)}\n` : '\n');
      }
      context.result(many ? { results } : withoutReason(results[0]!));
    } finally {
      await engine.dispose();
    }
  },
};

interface GenerateOptions {
  readonly maxTokens: number;
  readonly sampling: Partial<Sampling>;
  readonly stop: readonly string[];
  readonly raw: boolean;
}

interface Generated {
  readonly ids: readonly number[];
  readonly text: string;
  readonly prompt_tokens: number;
  /** `stop`: the model or a stop text ended it; `length`: it was cut. */
  readonly reason: 'stop' | 'length';
  readonly cached_tokens?: number;
  readonly disk_tokens?: number;
  readonly read_tokens?: number;
  readonly miss?: ReadReason | null;
}

function withoutReason({ reason: _, ...result }: Generated): Omit<Generated, 'reason'> {
  return result;
}

async function generate(
  engine: Engine,
  prompt: string,
  { maxTokens, sampling, stop, raw }: GenerateOptions,
  signal: AbortSignal,
  emit: (text: string) => void,
): Promise<Generated> {
  const stops = new StopStrings(stop);
  const { tokenizer } = engine;
  const promptIds = encodePrompt(tokenizer, prompt, raw);
  const { eos, endOfTurn } = tokenizer.special;
  const decoder = tokenizer.decoder();
  const ids: number[] = [];
  let text = '';
  const add = (piece: string) => {
    text += piece;
    emit(piece);
  };
  let stopped = false;
  let end: Extract<GenerateEvent, { kind: 'end' }> | null = null;
  for await (const event of engine.generate(promptIds, {
    maxTokens,
    sampling,
    stopIds: [eos, endOfTurn],
    signal,
  })) {
    if (event.kind === 'end' && event.reason === 'cancelled') throw new Error('Interrupted.');
    if (event.kind === 'end') end = event;
    if (event.kind !== 'token') continue;
    ids.push(event.id);
    const certain = stops.push(decoder.push(event.id));
    add(certain.text);
    stopped = certain.stopped;
    if (stopped) break;
  }
  if (!stopped) add(stops.push(decoder.end()).text + stops.end());
  return {
    ids,
    text,
    prompt_tokens: promptIds.length,
    reason: stopped || end?.reason === 'stop' ? 'stop' : 'length',
    ...(end && {
      cached_tokens: end.cachedTokens,
      disk_tokens: end.diskTokens,
      read_tokens: end.promptTokens - end.cachedTokens,
      miss: readReason(tokenizer, end.miss),
    }),
  };
}

/** The one prompt, or one for each line of a JSON-lines file. */
function readPrompts(context: CliContext): readonly string[] {
  const file = textOption(context.values, 'prompts-file');
  if (file === undefined) return [readPrompt(context)];
  const single = ['prompt', 'prompt-file'].find((name) => context.values[name] !== undefined);
  if (single) throw new UsageError(`--prompts-file and --${single} exclude each other`);
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.flatMap((line, index) => {
    if (line.trim() === '') return [];
    const prompt: unknown = parsed(line);
    if (typeof prompt === 'string') return [prompt];
    throw new UsageError(
      `${file}:${index + 1} is not a JSON string; write one prompt in quotes on every line`,
    );
  });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

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
