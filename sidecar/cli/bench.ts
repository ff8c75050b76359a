/** `bench`: prefill and decode speed at a depth, as medians over repetitions with their spread. */
import path from 'node:path';
import type { OperationTime } from '../engine/backend/backend.ts';
import type { GemmaEngine } from '../engine/gemma-engine.ts';
import type { EncodeProgress } from '../engine/image-encoder.ts';
import { decodeImageFile } from '../images/decode-image.ts';
import { type Command, UsageError } from './command.ts';
import { integerOption, textOption } from './options.ts';
import { ProgressLine } from './progress-line.ts';

const MIB = 2 ** 20;

export const command: Command = {
  name: 'bench',
  summary: 'Prefill and decode speed at a depth',
  usage: '[-p 512] [-n 64] [-d 0] [--image FILE] [--repetitions R] [--profile]',
  options: {
    prompt: { type: 'string', short: 'p' },
    generate: { type: 'string', short: 'n' },
    depth: { type: 'string', short: 'd' },
    image: { type: 'string' },
    repetitions: { type: 'string' },
    profile: { type: 'boolean' },
  },
  async run(context) {
    const { values } = context;
    if (context.positionals.length > 0) {
      throw new UsageError(`Unexpected argument "${context.positionals[0]}"`);
    }
    const prompt = integerOption(values, 'prompt', { least: 1 }) ?? 512;
    const generate = integerOption(values, 'generate', { least: 1 }) ?? 64;
    const depth = integerOption(values, 'depth', { least: 0 }) ?? 0;
    const repetitions = integerOption(values, 'repetitions', { least: 1, most: 1000 }) ?? 5;
    const line = new ProgressLine(process.stderr);
    const started = performance.now();
    const engine = await context.loadEngine({
      // What it measures are decode steps of one token; made-up prompts repeat themselves as no text does.
      speculation: false,
      // Measured is reading, not reading back.
      store: null,
      onProgress: (fraction) => line.show(`Loading: ${Math.floor(100 * fraction)} %`),
    });
    const loadMs = performance.now() - started;
    try {
      const prefill: number[] = [];
      const decode: number[] = [];
      // The first round warms up and fills the depth.
      for (let round = 0; round <= repetitions; round++) {
        line.show(round === 0 ? 'Warming up' : `Round ${round} of ${repetitions}`);
        const speeds = await measure(engine, { prompt, generate, depth, round }, context.signal);
        if (round === 0) {
          // Measured from here on.
          if (values['profile'] === true) engine.profile();
          continue;
        }
        prefill.push(speeds.prefill);
        decode.push(speeds.decode);
      }
      const imageFile = textOption(values, 'image');
      const image =
        imageFile === undefined
          ? null
          : await measureImage(engine, imageFile, repetitions, line, context.signal);
      line.clear();
      const profile = values['profile'] === true ? engine.profile() : null;
      const { kvUsed, kvReserved, weights } = engine.memory();
      const report = {
        prefill_tps: median(prefill),
        prefill_tps_spread: spread(prefill),
        decode_tps: median(decode),
        decode_tps_spread: spread(decode),
        image_ms: image && median(image.encode),
        image_ms_spread: image && spread(image.encode),
        image_decode_ms: image?.decode ?? null,
        image_load_ms: image?.load ?? null,
        load_ms: loadMs,
        rss_mb: process.memoryUsage.rss() / MIB,
        kv_mb: kvUsed / MIB,
        kv_reserved_mb: kvReserved / MIB,
        weights_mb: weights / MIB,
        prompt_tokens: prompt,
        generated_tokens: generate,
        depth,
        repetitions,
        model: engine.model.name,
        quantisation: engine.model.quantisation,
        backend: engine.backendDescription,
        ...(profile !== null && { profile }),
      };
      context.print(
        `${report.backend}, ${report.model} ${report.quantisation}\n` +
          `prefill ${prompt} at depth ${depth}: ${shown(prefill)} tokens/s\n` +
          `decode ${generate} at depth ${depth}: ${shown(decode)} tokens/s\n` +
          `load ${(loadMs / 1000).toFixed(2)} s, resident ${report.rss_mb.toFixed(0)} MiB, KV ${report.kv_mb.toFixed(0)} MiB\n` +
          (profile === null ? '' : profileTable(profile)),
      );
      if (image) {
        context.print(
          `image: ${shown(image.encode)} ms in the tower, ${image.decode.toFixed(0)} ms to decode, ${image.load.toFixed(0)} ms to load the tower\n`,
        );
      }
      context.result(report);
    } finally {
      line.clear();
      await engine.dispose();
    }
  },
};

interface Load {
  readonly prompt: number;
  readonly generate: number;
  readonly depth: number;
  /** Tokens beyond the depth differ from round to round, so that none of them is in the cache. */
  readonly round: number;
}

async function measure(
  engine: GemmaEngine,
  { prompt, generate, depth, round }: Load,
  signal: AbortSignal,
): Promise<{ prefill: number; decode: number }> {
  const { size } = engine.tokenizer;
  const token = (i: number) => 4 + ((i * 7919 + 31) % (size - 4));
  const head = Array.from({ length: depth }, (_, i) => token(i));
  const fresh = (salt: number, count: number) =>
    Array.from({ length: count }, (_, i) => token(i * 31 + 104_729 * (2 * round + salt) + 1));
  const read = await lastEvent(engine, [...head, ...fresh(0, prompt)], 1, depth, signal);
  const prefill = (1000 * (prompt + depth - read.cachedTokens)) / read.prefillMs;
  // The first token comes with the prompt; those after it are the decode steps.
  const said = await lastEvent(engine, [...head, ...fresh(1, 1)], generate + 1, depth, signal);
  return { prefill, decode: (1000 * generate) / said.decodeMs };
}

interface ImageTimes {
  /** Milliseconds of each round, resizing included. */
  readonly encode: readonly number[];
  readonly decode: number;
  readonly load: number;
}

async function measureImage(
  engine: GemmaEngine,
  file: string,
  repetitions: number,
  line: ProgressLine,
  signal: AbortSignal,
): Promise<ImageTimes> {
  const started = performance.now();
  const image = await decodeImageFile(path.resolve(file), signal);
  const decode = performance.now() - started;
  const encode: number[] = [];
  let load = 0;
  // The first round loads the tower.
  for (let round = 0; round <= repetitions; round++) {
    let encoding = performance.now();
    const onProgress = ({ phase, layer, layers }: EncodeProgress) => {
      line.show(`Image, round ${round} of ${repetitions}: layer ${layer} of ${layers}`);
      if (phase !== 'encoding' || layer > 0 || round > 0) return;
      load = performance.now() - encoding;
      encoding = performance.now();
    };
    await engine.encodeImage(image, { onProgress, signal });
    if (round > 0) encode.push(performance.now() - encoding);
  }
  return { encode, decode, load };
}

async function lastEvent(
  engine: GemmaEngine,
  prompt: readonly number[],
  maxTokens: number,
  depth: number,
  signal: AbortSignal,
) {
  const sampling = { temperature: 0 };
  for await (const event of engine.generate(prompt, { maxTokens, sampling, keepAt: [depth], signal })) {
    if (event.kind !== 'end') continue;
    if (event.reason === 'cancelled') throw new Error('Interrupted.');
    if (event.generatedTokens < maxTokens) {
      throw new UsageError(
        `The context of ${engine.contextLength} tokens is too short; choose a larger --ctx`,
      );
    }
    return event;
  }
  throw new Error('The engine gave no result.');
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Smallest and largest. */
function spread(values: readonly number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

function shown(values: readonly number[]): string {
  const [least, most] = spread(values);
  return `${median(values).toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
}

/** One line an operation, longest first: its part of the time, and how many operations a second it came to. */
function profileTable(times: readonly OperationTime[]): string {
  const total = times.reduce((sum, { wallSeconds }) => sum + wallSeconds, 0);
  return times
    .toSorted((a, b) => b.wallSeconds - a.wallSeconds)
    .map(({ name, runs, wallSeconds, operations }) => {
      const share = `${((100 * wallSeconds) / total).toFixed(1)} %`.padStart(7);
      const rate = operations === 0 ? '' : `${(operations / wallSeconds / 1e9).toFixed(0)} G operations/s`;
      return `${share}  ${name.padEnd(22)} ${String(runs).padStart(6)} runs  ${wallSeconds.toFixed(3)} s  ${rate}`;
    })
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}
