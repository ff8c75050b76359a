#!/usr/bin/env node
/**
 * The program: finds the subcommand, checks the common options, and puts the parts together.
 *
 * Exit code 0 is success, 1 a failure with one line of reason on stderr, 2 wrong usage.
 */
import { writeSync } from 'node:fs';
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import {
  type CliContext,
  type Command,
  type CommonOptions,
  type OptionValues,
  UsageError,
} from './cli/command.ts';
import { choiceOption, flag, integerOption, textOption } from './cli/options.ts';
import { loadGemmaEngine } from './engine/load-engine.ts';
import { builtInModelPath, missingBuiltInModel } from './models/find.ts';
import { findImageTower } from './models/image-tower.ts';
import { kvStoreFolder, thisMachine } from './models/places.ts';
import { storeOptions } from './session/kv-store-options.ts';

const VERSION = '0.1.0';

/** Loaded when asked for: `tokenize` must not wait for the language server. */
const COMMANDS: Readonly<Record<string, () => Promise<{ readonly command: Command }>>> = {
  ask: () => import('./cli/ask.ts'),
  complete: () => import('./cli/complete.ts'),
  generate: () => import('./cli/generate.ts'),
  tokenize: () => import('./cli/tokenize.ts'),
  detokenize: () => import('./cli/detokenize.ts'),
  logits: () => import('./cli/logits.ts'),
  perplexity: () => import('./cli/perplexity.ts'),
  bench: () => import('./cli/bench.ts'),
  encode: () => import('./cli/encode.ts'),
  inspect: () => import('./cli/inspect.ts'),
  quantize: () => import('./cli/quantize.ts'),
  models: () => import('./cli/models.ts'),
  cache: () => import('./cli/cache.ts'),
  doctor: () => import('./cli/doctor.ts'),
  serve: () => import('./cli/serve.ts'),
};

const COMMON_OPTIONS: ParseArgsOptionsConfig = {
  model: { type: 'string' },
  mmproj: { type: 'string' },
  threads: { type: 'string' },
  backend: { type: 'string' },
  ctx: { type: 'string' },
  precision: { type: 'string' },
  kv: { type: 'string' },
  speculation: { type: 'string' },
  'draft-model': { type: 'string' },
  shadow: { type: 'string' },
  'cache-dir': { type: 'string' },
  'no-cache': { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
};

const COMMON_USAGE = `Common options:
  --model FILE              GGUF file (default: the built-in model)
  --mmproj FILE             image tower (default: one in the model file, or mmproj*.gguf beside it)
  --threads N               default: one for each physical core
  --backend auto|cpu|gpu
  --ctx N                   context length in tokens
  --precision int8|bf16|f32 what activations are rounded to before products (default: int8; bf16 takes about twice as long)
  --kv auto|f16|int8|int4   what the KV cache holds (default: the first of the three with which the context fits)
  --sparse N                read only the most promising N positions far behind: faster on long contexts, not exact
  --speculation on|off      verify drafts of several tokens at once (default: on; the text is the same)
  --draft-model FILE        a smaller Gemma 3 that drafts where nothing is repeated
  --shadow on|off           a copy of a wide output matrix that finds likely tokens sooner (default: on where memory
                            allows; the text is the same)
  --cache-dir DIR           where KV is kept on disk (default: the user's cache folder)
  --no-cache                keep no KV on disk and use none
  --json                    one machine-readable object on stdout`;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(await overview());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version') {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined) return fail(2, `There is no command "${name}". Try gemma-sidecar help.`);
  const { command } = await load();
  let context: CliContext | null = null;
  try {
    context = createContext(command, rest);
    if (context === null) process.stdout.write(commandHelp(command));
    else await command.run(context);
    // A command may have set another code of its own, as the server does.
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof UsageError) {
      return fail(2, `${error.message}. Usage: gemma-sidecar ${command.name} ${command.usage}`);
    }
    if (context?.signal.reason instanceof ReaderGoneError) return 0;
    return fail(1, error instanceof Error ? error.message : String(error));
  }
}

/** Whoever read standard output has closed it, as `head` does when it has enough: no fault, and nothing more to say. */
class ReaderGoneError extends Error {}

/** Null where only help was asked for. */
function createContext(command: Command, args: readonly string[]): CliContext | null {
  const { values, positionals } = parse(command, args);
  if (flag(values, 'help')) return null;
  const common = commonOptions(values);
  const json = flag(values, 'json');
  const modelPath = () => {
    const path = common.model ?? builtInModelPath();
    if (path === null) throw new Error(missingBuiltInModel());
    return path;
  };
  const log = (line: string) => process.stderr.write(`${line}\n`);
  // The server's output is a protocol; what happens when its reader goes is its own matter.
  const signal = interruptSignal(command.name !== 'serve');
  return {
    values,
    positionals,
    common,
    json,
    signal,
    version: VERSION,
    print: (text) => {
      if (!json) process.stdout.write(text);
    },
    result: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`);
    },
    log,
    modelPath,
    loadEngine: async (options) => {
      const path = options?.modelPath ?? modelPath();
      const mmprojPath = options?.mmprojPath ?? common.mmproj ?? (await findImageTower(path));
      const engine = await loadGemmaEngine({
        modelPath: path,
        backend: common.backend,
        signal,
        store: common.cacheFolder === null ? null : storeOptions(common.cacheFolder, {}, log),
        ...(common.threads !== undefined && { threads: common.threads }),
        ...(common.contextLength !== undefined && { contextLength: common.contextLength }),
        precision: common.precision,
        kvFormat: common.kv,
        ...(common.sparse !== undefined && { sparsePositions: common.sparse }),
        speculation: common.speculation,
        outputShadow: common.outputShadow,
        ...(common.draftModel !== null && { draftModelPath: common.draftModel }),
        ...options,
        ...(mmprojPath !== null && { mmprojPath }),
      });
      for (const note of engine.notes) log(note);
      return engine;
    },
  };
}

function parse(
  command: Command,
  args: readonly string[],
): { values: OptionValues; positionals: readonly string[] } {
  try {
    return parseArgs({
      args: [...args],
      options: { ...COMMON_OPTIONS, ...command.options },
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    const [firstSentence = ''] = (error as Error).message.split('. ');
    throw new UsageError(firstSentence.replace(/\.$/, ''));
  }
}

function commonOptions(values: OptionValues): CommonOptions {
  return {
    model: textOption(values, 'model') ?? null,
    mmproj: textOption(values, 'mmproj') ?? null,
    threads: integerOption(values, 'threads', { least: 1, most: 1024 }),
    backend: choiceOption(values, 'backend', ['auto', 'cpu', 'gpu']) ?? 'auto',
    contextLength: integerOption(values, 'ctx', { least: 1, most: 1 << 24 }),
    precision: choiceOption(values, 'precision', ['int8', 'bf16', 'f32']) ?? 'int8',
    kv: choiceOption(values, 'kv', ['auto', 'f16', 'int8', 'int4']) ?? 'auto',
    sparse: integerOption(values, 'sparse', { least: 64, most: 1 << 24 }),
    speculation: choiceOption(values, 'speculation', ['on', 'off']) !== 'off',
    draftModel: textOption(values, 'draft-model') ?? null,
    outputShadow: choiceOption(values, 'shadow', ['on', 'off']) !== 'off',
    cacheFolder: flag(values, 'no-cache')
      ? null
      : (textOption(values, 'cache-dir') ?? kvStoreFolder(thisMachine())),
  };
}

/** A second signal ends the process at once, for commands that are slow to notice the first. */
function interruptSignal(endWithReader: boolean): AbortSignal {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Error('Interrupted.'));
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  if (endWithReader) {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      controller.abort(new ReaderGoneError());
    });
  }
  return controller.signal;
}

async function overview(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map(async (load) => (await load()).command));
  const width = Math.max(...commands.map(({ name }) => name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `Usage: gemma-sidecar COMMAND [options]\n\n${lines.join('\n')}\n\n${COMMON_USAGE}\n`;
}

function commandHelp({ name, usage, summary }: Command): string {
  return `Usage: gemma-sidecar ${name} ${usage}\n\n${summary}\n\n${COMMON_USAGE}\n`;
}

function fail(code: 1 | 2, reason: string): number {
  // Synchronous, so that the line is out before the process ends.
  writeSync(2, `gemma-sidecar: ${reason.replaceAll(/\s*\n\s*/g, ' ')}\n`);
  return code;
}

process.exitCode = await main(process.argv.slice(2));
