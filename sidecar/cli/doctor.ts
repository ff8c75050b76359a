/** `doctor`: checks each hop from this program to an answer, names the first that fails and what to do about it. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { listFiles } from '../context/repository.ts';
import { selectBackend } from '../engine/backend/select.ts';
import type { Engine } from '../engine/engine.ts';
import { describeModel } from '../models/describe.ts';
import type { CliContext, Command } from './command.ts';
import { textOption } from './options.ts';

interface Check {
  readonly name: string;
  /** What it found, or an exception that says what is wrong. */
  readonly run: (state: DoctorState) => Promise<string> | string;
  readonly fix: string;
}

interface DoctorState {
  engine: Engine | null;
}

interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly fix?: string;
}

const OLDEST_NODE = 20;
/** Beside the weights: KV cache, activations, the runtime itself. */
const MEMORY_BESIDE_WEIGHTS = 300e6;

export const command: Command = {
  name: 'doctor',
  summary: 'Checks each hop to an answer, names the first that fails and the fix',
  usage: '[--repo DIR]',
  options: { repo: { type: 'string' } },
  async run(context) {
    const state: DoctorState = { engine: null };
    const findings: Finding[] = [];
    try {
      for (const check of checks(context)) {
        const finding = await examine(check, state);
        findings.push(finding);
        context.print(`${finding.ok ? 'ok  ' : 'FAIL'}  ${finding.name}: ${finding.detail}\n`);
        if (!finding.ok) break;
      }
    } finally {
      await state.engine?.dispose();
    }
    const failed = findings.find((finding) => !finding.ok);
    context.result({ ok: failed === undefined, checks: findings });
    if (failed) throw new Error(`${failed.name}: ${failed.detail} ${failed.fix}`);
  },
};

async function examine(check: Check, state: DoctorState): Promise<Finding> {
  try {
    return { name: check.name, ok: true, detail: await check.run(state) };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { name: check.name, ok: false, detail, fix: check.fix };
  }
}

function checks(context: CliContext): readonly Check[] {
  const repository = path.resolve(textOption(context.values, 'repo') ?? '.');
  return [
    {
      name: 'runtime',
      run: () => runtimeDetail(process.versions.node),
      fix: `Use Node.js ${OLDEST_NODE} or newer.`,
    },
    {
      name: 'native engine',
      run: () => {
        const { backend: kind, threads } = context.common;
        const backend = selectBackend({ kind, ...(threads !== undefined && { threads }) });
        backend.dispose();
        return backend.description;
      },
      fix: 'In a clone, build it with `npm run build`. In an installation, check that its platform is this machine.',
    },
    {
      name: 'model file',
      run: () => context.modelPath(),
      fix: 'Install the extension again, or name a file with --model.',
    },
    {
      name: 'model header',
      run: async () => {
        const { name, parameters, quantisation, trainedContext } = await describeModel(context.modelPath());
        return `${name}, ${(parameters / 1e6).toFixed(1)} M parameters, ${quantisation}, context ${trainedContext}`;
      },
      fix: 'Choose a complete Gemma 3 file in GGUF form; download it again if it should be one.',
    },
    {
      name: 'memory',
      run: async () => {
        const needed = (await describeModel(context.modelPath())).fileBytes + MEMORY_BESIDE_WEIGHTS;
        const free = availableMemory();
        const figures = `${megabytes(needed)} MB needed, ${megabytes(free)} MB free`;
        if (free < needed) throw new Error(`${figures}.`);
        return figures;
      },
      fix: 'Close other programs, or choose a smaller model.',
    },
    {
      name: 'engine',
      run: async (state) => {
        state.engine = await context.loadEngine({ store: null });
        return `${state.engine.backendDescription}, context ${state.engine.contextLength}`;
      },
      fix: 'Choose a smaller model, or a shorter context with --ctx.',
    },
    {
      name: 'first token',
      run: ({ engine }) => firstToken(engine!, context.signal),
      fix: 'The model loads but does not answer: choose another file, and report this with the output of doctor --json.',
    },
    {
      name: 'workspace',
      run: async () => {
        const files = await listFiles([{ folder: repository, label: null }]);
        if (files.length === 0) throw new Error(`The folder ${repository} has no files.`);
        return `${files.length} files in ${repository}`;
      },
      fix: 'Name a readable folder that has files with --repo.',
    },
  ];
}

/** @throws Error for a version of Node.js that lacks what this program uses. */
export function runtimeDetail(version: string): string {
  if (Number.parseInt(version, 10) < OLDEST_NODE) throw new Error(`Node.js ${version} is too old.`);
  return `Node.js ${version}, ${process.platform} ${process.arch}, ${os.availableParallelism()} processors`;
}

async function firstToken(engine: Engine, signal: AbortSignal): Promise<string> {
  const prompt = [engine.tokenizer.special.bos, ...engine.tokenizer.encode('Hello')];
  const start = performance.now();
  for await (const event of engine.generate(prompt, { maxTokens: 1, sampling: { temperature: 0 }, signal })) {
    if (event.kind === 'token') return `after ${Math.round(performance.now() - start)} ms`;
  }
  throw new Error('The model produced no token.');
}

/** Node's own figure leaves out what Linux would give back from its file cache. */
function availableMemory(): number {
  try {
    const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
    return kilobytes === undefined ? os.freemem() : Number(kilobytes) * 1024;
  } catch {
    return os.freemem();
  }
}

function megabytes(bytes: number): string {
  return Math.round(bytes / 1e6).toLocaleString('en-US');
}
