/**
 * What an edit costs: a one-line edit in each of 20 files spread over a repository of about 60,000 tokens, a question after each.
 * Counts the tokens that must be read, with the built-in model's tokenizer and the prompt as the chat makes it, with the journal
 * and without (files in their place, as they are now).
 *
 *   node bench/edits.ts [--tokens 60000] [--edits 20]
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { RepositoryContext } from '../sidecar/context/pack.ts';
import type { Packed } from '../sidecar/context/packed.ts';
import { openModelFile } from '../sidecar/engine/model-file.ts';
import { builtInModelPath } from '../sidecar/models/find.ts';
import { chatPrompt } from '../sidecar/prompt/chat-prompt.ts';

const { values } = parseArgs({
  options: { tokens: { type: 'string', default: '60000' }, edits: { type: 'string', default: '20' } },
});
const wanted = Number(values.tokens);
const edits = Number(values.edits);
const model = builtInModelPath();
if (model === null) throw new Error('The built-in model is missing.');
const { tokenizer } = openModelFile(model);

const folder = mkdtempSync(path.join(tmpdir(), 'gemma-sidecar-edits-'));
try {
  const paths = copyRepository();
  execFileSync('git', ['init', '--quiet'], { cwd: folder });
  const context = new RepositoryContext([{ folder, label: null }]);
  const pack = (previous: Packed | null) =>
    context.pack({
      tokenizer,
      budget: 2 * wanted,
      ceiling: 2 * wanted,
      question: ['?'],
      unsaved: [],
      previous,
      onProgress: () => {},
    });
  const idsOf = (packed: Packed) =>
    chatPrompt(
      tokenizer,
      [{ role: 'user', text: 'What is this?', changes: packed.journal.map(({ text }) => text) }],
      packed.head.files,
    ).ids;

  let packed = await pack(null);
  let before = idsOf(packed);
  let plainBefore = before;
  const whole = before.length;
  const withJournal: number[] = [];
  const without: number[] = [];
  for (let i = 0; i < edits; i++) {
    const file = path.join(folder, paths[Math.floor(((i * 7) % edits) * (paths.length / edits))]!);
    const lines = readFileSync(file, 'utf8').split('\n');
    lines[Math.floor(lines.length / 2)] = `// edit ${i}`;
    writeFileSync(file, lines.join('\n'));
    packed = await pack(packed);
    const after = idsOf(packed);
    withJournal.push(toRead(before, after));
    before = after;
    const plain = idsOf(await pack(null));
    without.push(toRead(plainBefore, plain));
    plainBefore = plain;
  }
  const row = (name: string, counts: readonly number[]) => {
    const sorted = counts.toSorted((a, b) => a - b);
    const share = (n: number) => `${n.toLocaleString('en-US')} (${((100 * n) / whole).toFixed(1)} %)`;
    console.log(`| ${name} | ${share(sorted[Math.floor(sorted.length / 2)]!)} | ${share(sorted.at(-1)!)} |`);
  };
  console.log(`${paths.length} files, ${whole.toLocaleString('en-US')} tokens, ${edits} edits`);
  console.log('| tokens to read after an edit | median | worst |\n| --- | --- | --- |');
  row('with the journal', withJournal);
  row('files in place, stable order', without);
  row(
    'everything',
    without.map(() => whole),
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Our own sources, as many as it takes. */
function copyRepository(): string[] {
  const root = path.resolve(import.meta.dirname, '..');
  const names = readdirSync(path.join(root, 'sidecar'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|cc|h)$/.test(name))
    .map((name) => path.join('sidecar', name))
    .sort();
  const copied: string[] = [];
  let tokens = 0;
  for (const name of names) {
    const text = readFileSync(path.join(root, name), 'utf8');
    tokens += tokenizer.encode(text).length;
    if (tokens > wanted) break;
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
    copied.push(name);
  }
  return copied;
}

/** The last token's logits are always computed. */
function toRead(before: Uint32Array, after: Uint32Array): number {
  let same = 0;
  while (same < Math.min(before.length, after.length - 1) && before[same] === after[same]) same++;
  return after.length - same;
}
