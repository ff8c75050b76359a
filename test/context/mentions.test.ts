import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mentionsIn, PathSearch, resolveMention } from '../../sidecar/context/mentions.ts';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import { temporaryRepository, writeFiles } from '../support/repository.ts';

const files = ['src/a.ts', 'src/chat-session.ts', 'src/sub/b.ts', 'my file.ts', 'README.md'].map((path) => ({
  path,
}));

test('mentions stand after white space, quoted or plain; an address is none', () => {
  assert.deepEqual(
    mentionsIn(
      'Is @src/a.ts like @"my file.ts"? See @folder:src, @diff, (@problems) and me@example.org.',
    ).map(({ kind, path }) => `${kind} ${path}`),
    ['path src/a.ts', 'path my file.ts', 'folder src', 'diff diff', 'editor problems'],
  );
  assert.deepEqual(mentionsIn('Read @src/a.ts.')[0]?.path, 'src/a.ts');
});

test('a mention is a file, a folder, the only path that ends so, or nothing', () => {
  const paths = (mention: string) => resolveMention(mentionsIn(mention)[0]!, files).map(({ path }) => path);
  assert.deepEqual(paths('@src/a.ts'), ['src/a.ts']);
  assert.deepEqual(paths('@chat-session.ts'), ['src/chat-session.ts']);
  assert.deepEqual(paths('@src/sub/'), ['src/sub/b.ts']);
  assert.deepEqual(paths('@src'), ['src/a.ts', 'src/chat-session.ts', 'src/sub/b.ts']);
  assert.deepEqual(paths('@file:src'), []);
  assert.deepEqual(paths('@folder:README.md'), []);
  assert.deepEqual(paths('@nothing.ts'), []);
});

test('a path in other letters is meant where only one file has them', () => {
  const here = [{ path: 'README.md' }, { path: 'src/A.ts' }, { path: 'src/a.ts' }];
  const paths = (text: string) =>
    mentionsIn(text).flatMap((m) => resolveMention(m, here).map(({ path }) => path));
  assert.deepEqual(paths('@readme.md'), ['README.md']);
  assert.deepEqual(paths('@src/a.ts @src/A.ts'), ['src/a.ts', 'src/A.ts']);
  assert.deepEqual(paths('@SRC/A.TS'), [], 'two files could be meant');
});

test('the search finds letters in order and prefers names to folders, starts to middles', async () => {
  const search = await PathSearch.of(files);
  const first = async (query: string) => (await search.find(query, 'any', 3))[0];
  assert.equal((await first('chses'))?.path, 'src/chat-session.ts');
  assert.deepEqual((await first('b.ts'))?.matches, [8, 9, 10, 11]);
  assert.equal((await first('src'))?.path, 'src/');
  assert.equal((await search.find('src', 'file', 9)).length, 3);
  assert.deepEqual(await search.find('zzz', 'any', 9), []);
  assert.equal((await search.find('', 'any', 2)).length, 2);
});

test('files, folders and the difference are looked up from the text of a question', async () => {
  const folder = temporaryRepository({ 'src/a.ts': 'let a;\n', 'src/b.ts': 'let b;\n', '.env': 'SECRET=1' });
  writeFiles(folder, { 'src/a.ts': 'let changed;\n' });
  const context = new RepositoryContext([{ folder, label: null }]);
  const found = await context.mentioned(
    '@diff of @src and @gone.ts and @.env?',
    await context.read({ unsaved: [], onProgress: () => {} }),
  );
  assert.deepEqual(found.unknown, ['@gone.ts', '@.env'], 'secrets cannot be mentioned either');
  const [diff, ...rest] = found.files;
  assert.ok(diff?.plain && diff.text.includes('-let a;\n+let changed;'));
  assert.deepEqual(rest, [
    { path: 'src/a.ts', text: 'let changed;\n' },
    { path: 'src/b.ts', text: 'let b;\n' },
  ]);
});
