import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SourceFile } from '../../sidecar/context/files.ts';
import { linkedScores } from '../../sidecar/context/links.ts';
import { changeHistory } from '../../sidecar/context/order.ts';
import { type PackRequest, RepositoryContext } from '../../sidecar/context/pack.ts';
import { parseSymbols } from '../../sidecar/context/symbols/parse.ts';
import { git, temporaryFolder, temporaryRepository, writeFiles } from '../support/repository.ts';
import { ByteTokenizer } from '../support/scripted-engine.ts';

const tokenizer = new ByteTokenizer();
const linked = async (files: Readonly<Record<string, string>>, scores: readonly number[]) =>
  linkedScores(
    await Promise.all(
      Object.entries(files).map(async ([path, text], i) => ({
        file: new SourceFile(path, text, '1'),
        score: scores[i]!,
        symbols: await parseSymbols(path, text),
      })),
    ),
  );

test('a file is linked with the best hit that it imports, or that imports it', async () => {
  const scores = await linked(
    {
      'src/hit.ts': "import { low } from './low.ts';\n",
      'src/mid.ts': 'export const mid = 1;\n',
      'src/low.ts': 'export const low = 1;\n',
      'src/user.ts': "import { mid } from './mid.ts';\nimport { hit } from './hit.ts';\n",
      'src/alone.ts': '',
    },
    [5, 3, 2, 1, 1],
  );
  assert.deepEqual([...scores], [2, 1, 5, 5, 0]);
});

const paragraph = (word: string) => `export function ${word}One() {\n  // about ${word}\n}\n`;
const ask = (folder: string, more: Partial<PackRequest>) =>
  new RepositoryContext([{ folder, label: null }])
    .pack({
      tokenizer,
      budget: 120,
      ceiling: 120,
      question: ['What is `zebra`?'],
      unsaved: [],
      previous: null,
      onProgress: () => {},
      ...more,
    })
    .then(({ files }) => files.map(({ path }) => path));

test('of equal hits, the one in front, one that is open, or one changed last comes first', async () => {
  const folder = temporaryFolder({ 'a.ts': paragraph('zebra'), 'b.ts': paragraph('zebra') });
  assert.deepEqual(await ask(folder, {}), ['a.ts']);
  assert.deepEqual(await ask(folder, { focus: { active: 'b.ts', open: [] } }), ['b.ts']);
  assert.deepEqual(await ask(folder, { focus: { open: ['b.ts'] } }), ['b.ts']);
  assert.deepEqual(await ask(folder, { focus: { active: 'b.ts', open: ['a.ts'] } }), ['b.ts']);
  const tracked = temporaryRepository({ 'a.ts': paragraph('zebra'), 'b.ts': 'x' });
  writeFiles(tracked, { 'b.ts': paragraph('zebra') });
  git(tracked, 'commit', '--all', '--quiet', '--message', 'Later');
  assert.deepEqual(await ask(tracked, {}), ['b.ts']);
});

test('it never outweighs words: what the question is about comes before what is in front', async () => {
  const folder = temporaryFolder({ 'a.ts': paragraph('zebra'), 'b.ts': paragraph('horse') });
  assert.deepEqual(await ask(folder, { focus: { active: 'b.ts', open: ['b.ts'] } }), ['a.ts']);
});

test('a question without a word to look for is about the file in front', async () => {
  const folder = temporaryFolder({ 'README.md': 'Project.\n'.repeat(6), 'z.ts': paragraph('zebra') });
  const what = { question: ['What does this do?'] };
  assert.equal((await ask(folder, { ...what, focus: { active: 'z.ts', open: [] } }))[0], 'z.ts');
  assert.equal((await ask(folder, what))[0], 'README.md');
});

test('recency is the order of commits, the newest first', async () => {
  const folder = temporaryRepository({ 'old.ts': '1', 'new.ts': '1' });
  writeFiles(folder, { 'new.ts': '2' });
  git(folder, 'commit', '--all', '--quiet', '--message', 'Two');
  const { counts, recency } = await changeHistory([{ folder, label: null }]);
  assert.deepEqual([counts.get('new.ts'), counts.get('old.ts')], [2, 1]);
  assert.deepEqual([recency.get('new.ts'), recency.get('old.ts')], [1, 0.5]);
});
