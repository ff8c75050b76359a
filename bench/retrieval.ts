/**
 * Does the prompt hold the lines that answer a question, when the repository does not fit?
 *
 *   node bench/retrieval.ts [--budget 2048 --budget 8192] [--verbose]
 *
 * The repository asked about is this one. A question counts as answered when every expected line is in the parts that
 * were chosen; "file" counts those where some part of the expected file was. This file would answer everything, so the
 * workspace is a copy without it.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { RepositoryContext } from '../sidecar/context/pack.ts';
import type { Packed } from '../sidecar/context/packed.ts';
import { listFiles } from '../sidecar/context/repository.ts';
import { readGguf } from '../sidecar/engine/model/gguf.ts';
import { loadTokenizer } from '../sidecar/engine/tokenizer/from-gguf.ts';
import { builtInModelPath, missingBuiltInModel } from '../sidecar/models/find.ts';

/** Lines are named by their text, because their numbers change. */
type Case = readonly [question: string, file: string, ...lines: readonly string[]];

const CPU = 'sidecar/engine/backend/cpu';
const CASES: readonly Case[] = [
  [
    'How does the sidecar notice that its parent died?',
    'sidecar/server/watchdog-worker.ts',
    'process.ppid !== parent',
  ],
  ['How is the BM25 score computed?', 'sidecar/context/relevance.ts', '(K1 + 1)', 'const rarity ='],
  ['What happens when a file is too large?', 'sidecar/context/belongs.ts', 'bytes > MAX_FILE_BYTES'],
  ['How are secret files kept out of the prompt?', 'sidecar/context/belongs.ts', "return 'secret'"],
  ['How is a running chat cancelled?', 'sidecar/server/chat-feature.ts', 'token.onCancellationRequested'],
  ['Where is `planMemory` defined?', 'sidecar/engine/kv/memory-plan.ts', 'export function planMemory('],
  [
    'What does largestFitting do?',
    'sidecar/engine/kv/memory-plan.ts',
    'function largestFitting(',
    'Math.ceil((low + high) / 2)',
  ],
  [
    'How are line numbers added to files in the prompt?',
    'sidecar/prompt/file-block.ts',
    'lastNumbered = index',
  ],
  ['How are citations found in an answer?', 'sidecar/prompt/citations.ts', 'answer.matchAll(LINE)'],
  [
    'How does ghost text avoid repeating what stands after the cursor?',
    'sidecar/session/trim-completion.ts',
    'text.endsWith(rest.slice(0, length))',
  ],
  [
    'How long must typing pause before a completion is requested?',
    'sidecar/session/completion-session.ts',
    'const DEBOUNCE_MS =',
  ],
  [
    'How does the scheduler decide which sequence runs next?',
    'sidecar/engine/scheduler.ts',
    '#next(): Sequence',
  ],
  [
    'How does the sampler apply top-p?',
    'sidecar/engine/sampler/sampler.ts',
    'nucleusSize(weights, topP * total)',
  ],
  [
    'Which instruction set do the CPU kernels use and how is it detected?',
    `${CPU}/dispatch.cc`,
    'isas.push_back({"avx2"',
  ],
  [
    'How are KV pages shared between sequences?',
    'sidecar/engine/kv/page-pool.ts',
    'this.#references[page]!++',
  ],
  ['How is RMSNorm computed?', `${CPU}/kernels/rms_norm.cc`, 'sqrt'],
  ['How does rotary position embedding rotate the heads?', `${CPU}/kernels/rope.cc`, 'cos'],
  ['What does the doctor command check?', 'sidecar/cli/doctor.ts', "name: 'model header'"],
  ['How does the extension restart a crashed sidecar?', 'extension/crash-budget.ts', 'crashed('],
  ['Where is Markdown sanitised?', 'webview/render-markdown.ts', 'DOMPurify.sanitize('],
  ['How does the walk honour .gitignore without git?', 'sidecar/context/repository.ts', 'ignore().add(text)'],
  [
    'What is refused when a message is larger than the limit?',
    'sidecar/protocol/codec.ts',
    'length > MAX_MESSAGE_BYTES',
  ],
  [
    'How are files ordered so that the prompt stays stable?',
    'sidecar/context/order.ts',
    'export function stableOrder',
    'Math.log2(',
  ],
  [
    'How does the streaming decoder avoid emitting half a character?',
    'sidecar/engine/tokenizer/stream-decoder.ts',
    'export function streamDecoder',
  ],
  [
    'Which tensors does the GGUF reader reject as overlapping?',
    'sidecar/engine/model/gguf.ts',
    'function placeTensors(',
  ],
  [
    'How are answers remembered so that their KV is found again?',
    'sidecar/chat/gemma.ts',
    'private remember(',
  ],
  ['How is the quantisation error simulated during training?', 'training/pipeline/quant.py', 'def '],
  ['What is tested about crashes of the sidecar?', 'test/extension/crash-budget.test.ts', "it('waits longer"],
];

/** Kept apart while the ranking was tuned, to see whether it learnt more than the questions above. */
const HELD_OUT: readonly Case[] = [
  ['How long do worker threads spin before they sleep?', `${CPU}/thread_pool.cc`, 'constexpr auto kSpin'],
  [
    'When is a sidecar that does not answer considered dead?',
    'extension/heartbeat.ts',
    'const MISSED_LIMIT =',
  ],
  [
    'How is the free memory of the machine measured?',
    'sidecar/engine/available-memory.ts',
    'export function availableMemory(',
  ],
  [
    'How is a float converted to half precision?',
    'sidecar/engine/model/half.ts',
    'export function floatToHalf(',
  ],
  [
    'What happens when the logits are not finite?',
    'sidecar/engine/sampler/sampler.ts',
    'throw new NonFiniteLogits(',
  ],
  [
    'Which kept states are evicted when pages run short?',
    'sidecar/engine/kv/kv-cache.ts',
    '#evictOne(): boolean',
  ],
  [
    'How are copying heads put into the model before training?',
    'training/pipeline/copy_init.py',
    'def with_copying_heads(',
  ],
  ['How is the approximated GELU computed?', `${CPU}/kernels/gelu_mul.cc`, 'Vec gelu_tanh('],
  ['How deep may packed messages be nested?', 'sidecar/protocol/packed-check.ts', 'const MAX_DEPTH ='],
  ['How does the webview reducer handle events?', 'webview/state.ts', 'export function reduce('],
  ['What text does the token meter show for each part?', 'webview/wording.ts', 'export function meterParts('],
  [
    'How are stop strings detected while text is streaming?',
    'sidecar/engine/sampler/stop-strings.ts',
    'class',
  ],
  [
    'How does the editor check that a cited path lies inside the workspace?',
    'extension/workspace-path.ts',
    'export function isInside(',
  ],
  [
    'How is `reserve` for the answer worked out?',
    'sidecar/prompt/budget.ts',
    'export function answerReserve(',
  ],
];

const { values } = parseArgs({
  options: { budget: { type: 'string', multiple: true }, verbose: { type: 'boolean', default: false } },
});
const budgets = (values.budget ?? ['2048', '8192']).map(Number);
const model = builtInModelPath();
if (model === null) throw new Error(missingBuiltInModel());
const gguf = readGguf(model);
const tokenizer = loadTokenizer(gguf, gguf.weight('token_embd.weight').rows);

const folder = mkdtempSync(path.join(tmpdir(), 'gemma-sidecar-retrieval-'));
try {
  await copyRepository(path.resolve(import.meta.dirname, '..'), folder);
  const repository = new RepositoryContext([{ folder, label: null }]);
  for (const budget of budgets) {
    await measure(repository, budget, 'tuned', CASES);
    await measure(repository, budget, 'held out', HELD_OUT);
  }
} finally {
  rmSync(folder, { recursive: true });
}

async function measure(
  repository: RepositoryContext,
  budget: number,
  name: string,
  cases: readonly Case[],
): Promise<void> {
  const results: { readonly found: boolean; readonly file: boolean }[] = [];
  for (const [question, file, ...lines] of cases) {
    const packed = await repository.pack({
      tokenizer,
      budget,
      ceiling: budget,
      question: [question],
      unsaved: [],
      previous: null,
      onProgress: () => {},
    });
    const result = judge(packed, file, lines);
    results.push(result);
    if (values.verbose && name === 'tuned' && !result.found)
      console.log(`${budget} MISS ${question}\n${chosen(packed)}`);
  }
  const count = (key: 'found' | 'file') => results.filter((result) => result[key]).length;
  const found = `${count('found')} of ${cases.length} with all lines, ${count('file')} with the file`;
  console.log(`recall@${budget}, ${name}: ${found}`);
}

async function copyRepository(from: string, to: string): Promise<void> {
  const self = path
    .relative(from, import.meta.filename)
    .split(path.sep)
    .join('/');
  for (const file of await listFiles([{ folder: from, label: null }])) {
    if (file.path === self) continue;
    const target = path.join(to, file.path);
    mkdirSync(path.dirname(target), { recursive: true });
    cpSync(file.absolute, target);
  }
}

function judge(packed: Packed, file: string, lines: readonly string[]) {
  const text = packed.files
    .filter((part) => part.path === file && part.as !== 'outline')
    .map((part) => part.text);
  const found = lines.every((line) => text.some((part) => part.includes(line)));
  return { found: text.length > 0 && found, file: text.length > 0 };
}

function chosen(packed: Packed): string {
  return packed.files
    .map(
      (part) => `  ${part.path}:${part.lines ? `${part.lines.first}-${part.lines.last}` : ''} ${part.tokens}`,
    )
    .join('\n');
}
