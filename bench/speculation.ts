/**
 * What does speculation bring when code is rewritten with a small change, and what does a pass over several tokens cost?
 *
 *   node bench/speculation.ts [1b] [4b] [--embedding Q4_0] [--rounds 3] [--threads 2] [--costs] [--json] [--folder DIR]
 *
 * Weights are random, so the model cannot rewrite anything by itself: the tokens that follow are prescribed (a file of this
 * repository in the prompt, then the file with four edits), while every pass, draft and verification is real. Plain and
 * speculative decoding take turns. Drafts see only what was said so far. That both say the same tokens where the model
 * decides is what test/engine/speculation.test.ts checks.
 */
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { selectBackend } from '../sidecar/engine/backend/select.ts';
import type { TensorType } from '../sidecar/engine/backend/tensor.ts';
import { KvCache } from '../sidecar/engine/kv/kv-cache.ts';
import { kvPages } from '../sidecar/engine/kv/memory-plan.ts';
import { kvLayout, PASS_LIMITS } from '../sidecar/engine/load-engine.ts';
import { Gemma3 } from '../sidecar/engine/model/gemma3.ts';
import { loadGemma3Weights } from '../sidecar/engine/model/weights.ts';
import { openModelFile } from '../sidecar/engine/model-file.ts';
import { Scheduler } from '../sidecar/engine/scheduler.ts';
import type { WorkReport } from '../sidecar/engine/sequence.ts';
import type { Drafter } from '../sidecar/engine/speculation/drafter.ts';
import { SuffixDrafter } from '../sidecar/engine/speculation/suffix-drafter.ts';
import { builtInModelPath } from '../sidecar/models/find.ts';
import { syntheticModel } from './synthetic-model.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    embedding: { type: 'string', default: 'Q4_0' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    costs: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
  },
});
const rounds = Number(values.rounds);
const LINES = 200;
/** Passes timed for each length of a draft. */
const PASSES = 12;
const SOURCE = fileURLToPath(new URL('../sidecar/session/chat-session.ts', import.meta.url));

const { prompt, target } = editTrace();
for (const name of positionals.length > 0 ? positionals : ['1b', '4b']) await measure(name);

async function measure(name: string): Promise<void> {
  const file = syntheticModel(values.folder, name, values.embedding as TensorType);
  const { gguf, config } = openModelFile(file);
  const backend = selectBackend({ kind: 'cpu', threads: Number(values.threads) });
  const weights = await loadGemma3Weights(backend, gguf, config);
  const layout = kvLayout(config);
  const kv = new KvCache(backend, layout, kvPages(layout, prompt.length + target.length + 64));
  const model = new Gemma3(config, weights, backend, PASS_LIMITS);
  const scheduler = new Scheduler(backend, model, kv);
  /** Reads the prompt (kept after the first time) and says the target. */
  const say = (drafter: Drafter | null, count = target.length) => {
    let said = 0;
    return scheduler.run({
      prompt,
      images: [],
      priority: 'chat',
      keepAt: [],
      firstLogits: prompt.length - 1,
      drafter,
      mostToAppend: () => count - said,
      onRead: () => {},
      onDisk: false,
      request: () => ({ count: 1, also: [] }),
      onLogits: () => (said < count ? target[said++]! : null),
      signal: new AbortController().signal,
    });
  };
  const repeating = () => {
    const drafter = new SuffixDrafter();
    drafter.begin(prompt);
    return drafter;
  };
  await model.addShadow();
  await say(null, 1);
  if (values.costs) await costs(name, say);
  const speed = ({ decodeMs }: WorkReport) => (1000 * target.length) / decodeMs;
  const speeds = { plain: [] as number[], drafted: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    const plain = await say(null);
    const drafted = await say(repeating());
    speeds.plain.push(speed(plain));
    speeds.drafted.push(speed(drafted));
    if (!values.json) report(name, plain, drafted);
  }
  const ratios = speeds.drafted.map((value, i) => value / speeds.plain[i]!);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  const median = ratios.toSorted((a, b) => a - b)[ratios.length >> 1]!;
  if (values.json) console.log(JSON.stringify(speeds));
  else console.log(`${name}: ${median.toFixed(2)} times as fast (${least.toFixed(2)} to ${most.toFixed(2)})`);
  await scheduler.dispose();
  kv.dispose();
  model.dispose();
  backend.dispose();
}

function report(name: string, plain: WorkReport, drafted: WorkReport): void {
  const speed = (ms: number) => ((1000 * target.length) / ms).toFixed(1);
  console.log(
    `${name}: ${target.length} tokens; plain ${speed(plain.decodeMs)} tokens/s, with drafts ${speed(drafted.decodeMs)}; ` +
      `${drafted.draftedTokens} drafted, ${drafted.acceptedTokens} of them right`,
  );
}

/** Time of a pass over n tokens, relative to one: drafts of n - 1 right tokens each. */
async function costs(
  name: string,
  say: (drafter: Drafter | null, count: number) => Promise<WorkReport>,
): Promise<void> {
  const perPass = async (tokens: number) => {
    let passes = 0;
    const drafter: Drafter = {
      propose: (ids, most) => {
        passes++;
        const at = ids.length - prompt.length;
        return target.slice(at, at + Math.min(tokens - 1, most));
      },
      settle: () => {},
    };
    // The last token of the count is not run.
    const { decodeMs } = await say(drafter, 1 + PASSES * tokens);
    return decodeMs / passes;
  };
  const one = await perPass(1);
  const relative: string[] = [];
  for (const tokens of [2, 3, 4, 6, 8, 9, 12, 16]) {
    relative.push(`${tokens}: ${((await perPass(tokens)) / one).toFixed(2)}`);
  }
  console.log(
    `${name}: a pass of n tokens costs, relative to one of ${one.toFixed(1)} ms: ${relative.join(', ')}`,
  );
}

/** A question with a file, and the file with a line changed, lines inserted, lines deleted and a name changed. */
function editTrace(): { prompt: Uint32Array; target: Uint32Array } {
  const builtIn = builtInModelPath();
  if (builtIn === null) throw new Error('The built-in model, whose vocabulary is used, is missing.');
  const { tokenizer } = openModelFile(builtIn);
  const lines = readFileSync(SOURCE, 'utf8').split('\n').slice(0, LINES);
  const edited = [...lines];
  edited[30] = `${edited[30]} // checked`;
  edited.splice(
    70,
    0,
    '  /** Where the answer came from. */',
    '  readonly origin: Origin;',
    '  readonly attempts: number;',
    '',
  );
  edited.splice(120, 3);
  const text = edited.join('\n').replaceAll('ChatSink', 'AnswerSink');
  const ask =
    'Rename ChatSink to AnswerSink, and add the origin and the number of attempts to the answer. Give the whole file.';
  return {
    prompt: Uint32Array.from([tokenizer.special.bos, ...tokenizer.encode(`${lines.join('\n')}\n\n${ask}\n`)]),
    target: tokenizer.encode(text),
  };
}
