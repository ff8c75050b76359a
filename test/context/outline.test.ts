import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesOf, outlineOf, stillHolds } from '../../sidecar/context/outline.ts';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import type { Packed } from '../../sidecar/context/packed.ts';
import { parseSymbols } from '../../sidecar/context/symbols/parse.ts';
import { chatPrompt } from '../../sidecar/prompt/chat-prompt.ts';
import { temporaryFolder, writeFiles } from '../support/repository.ts';
import { ByteTokenizer } from '../support/scripted-engine.ts';

const tokenizer = new ByteTokenizer();
const SUM = `/** Adds up. Slowly. */
export class Sum {
  total = 0;
  /** Adds one. */
  add(value: number): void {
    this.total += value;
  }
}

export function sumOf(
  values: number[],
): Sum {
  return new Sum();
}
`;

test('an outline has each definition with its line, its place and what its comment says', async () => {
  const symbols = await parseSymbols('sum.ts', SUM);
  assert.equal(
    outlineOf(symbols),
    [
      '2| export class Sum { — Adds up.',
      '3|   total = 0;',
      '5|   add(value: number): void { — Adds one.',
      '10| export function sumOf( values: number[], ): Sum {',
    ].join('\n'),
  );
  assert.equal(namesOf(symbols), 'Sum:2, sumOf:10');
  const moved = await parseSymbols('sum.ts', `\n\n${SUM.replace('+= value', '-= value')}`);
  assert.ok(stillHolds(outlineOf(symbols), moved) && stillHolds(namesOf(symbols), moved));
  const renamed = await parseSymbols('sum.ts', SUM.replace('sumOf', 'totalOf'));
  assert.ok(!stillHolds(outlineOf(symbols), renamed) && !stillHolds(namesOf(symbols), renamed));
  assert.equal(outlineOf(await parseSymbols('x.md', '# Title')), '');
});

/** More than fits; the question is about `needle`, `sum.ts` has a word of it, and nothing else has any. */
const FILES = {
  'needle.ts': `export const needle = 1;\n${'// needle, needle and hay\n'.repeat(800)}`,
  'src/sum.ts': `${SUM}${'// about nothing in particular\n'.repeat(80)}`,
  'src/other.ts': `export const other = 2;\n${'// filler\n'.repeat(80)}`,
  'notes.md': 'words\n'.repeat(3000),
};
const REQUEST = {
  tokenizer,
  budget: 12_000,
  ceiling: 14_000,
  question: ['Where is `needle` added?'],
  unsaved: [],
  onProgress: () => {},
};
const outlines = (packed: Packed) => packed.files.filter(({ as }) => as === 'outline');
const promptOf = (packed: Packed) =>
  tokenizer.decode(
    chatPrompt(
      tokenizer,
      [{ role: 'user', text: '?', changes: packed.journal.map(({ text }) => text) }],
      packed.head.files,
    ).ids,
  );

test('files that do not fit are outlined, within the budget, the same every time, and said to be left out', async () => {
  const context = new RepositoryContext([{ folder: temporaryFolder(FILES), label: null }]);
  const packed = await context.pack({ ...REQUEST, previous: null });
  assert.ok(packed.tokens <= REQUEST.budget, `${packed.tokens} tokens`);
  assert.deepEqual(
    outlines(packed).map(({ path }) => path),
    ['src/other.ts', 'src/sum.ts'],
  );
  assert.ok(promptOf(packed).includes('\n\n=== src/sum.ts (outline)\n2| export class Sum { — Adds up.\n'));
  const left = new Map(packed.leftOut.map(({ path, reason }) => [path, reason]));
  assert.ok(left.get('src/sum.ts') === 'budget' && left.get('notes.md') === 'budget');
  const again = new RepositoryContext([{ folder: temporaryFolder(FILES), label: null }]);
  assert.equal(promptOf(await again.pack({ ...REQUEST, previous: null })), promptOf(packed));
});

test('an outline stays while what it says holds; when not, the new one is told; a restart keeps it', async () => {
  const folder = temporaryFolder(FILES);
  const cache = temporaryFolder();
  const started = () => new RepositoryContext([{ folder, label: null }], cache);
  const context = started();
  const first = await context.pack({ ...REQUEST, previous: null });
  writeFiles(folder, { 'src/sum.ts': FILES['src/sum.ts'].replace('this.total += value', 'return') });
  const body = await context.pack({ ...REQUEST, previous: first });
  assert.equal(promptOf(body), promptOf(first), 'what an outline does not show changes nothing');
  writeFiles(folder, { 'src/sum.ts': FILES['src/sum.ts'].replace('sumOf', 'totalOf') });
  for (const next of [
    await context.pack({ ...REQUEST, previous: body }),
    await started().pack({ ...REQUEST, previous: null }),
  ]) {
    assert.deepEqual(
      next.head.files.map(({ text }) => text),
      first.head.files.map(({ text }) => text),
    );
    assert.equal(
      next.journal[0]?.text,
      'Since then src/sum.ts has changed and defines now:\n\n=== src/sum.ts (outline)\n' +
        outlineOf(await parseSymbols('sum.ts', SUM.replace('sumOf', 'totalOf'))),
    );
  }
});

test('too little room for an outline leaves the names, then nothing', async () => {
  const many = Array.from({ length: 60 }, (_, i) => `export function f${i}(value: number): number {}\n`);
  const context = new RepositoryContext([
    { folder: temporaryFolder({ ...FILES, 'src/sum.ts': many.join('') }), label: null },
  ]);
  const packed = await context.pack({ ...REQUEST, budget: 8500, previous: null });
  const sum = outlines(packed).find(({ path }) => path === 'src/sum.ts');
  assert.match(sum?.text ?? '', /^f0:1, f1:2, .*f59:60$/);
  const small = await context.pack({ ...REQUEST, budget: 6000, previous: null });
  assert.deepEqual(outlines(small), []);
});
