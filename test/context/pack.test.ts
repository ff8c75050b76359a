import assert from 'node:assert/strict';
import { symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type PackRequest, RepositoryContext } from '../../sidecar/context/pack.ts';
import type { Packed } from '../../sidecar/context/packed.ts';
import { ContextFullError } from '../../sidecar/prompt/budget.ts';
import { chatPrompt } from '../../sidecar/prompt/chat-prompt.ts';
import { git, temporaryFolder, temporaryRepository, writeFiles } from '../support/repository.ts';
import { ByteTokenizer } from '../support/scripted-engine.ts';

const tokenizer = new ByteTokenizer();
const repository = (folder: string) => new RepositoryContext([{ folder, label: null }]);
const request = (more: Partial<PackRequest> = {}): PackRequest => ({
  tokenizer,
  budget: 10_000,
  ceiling: 12_000,
  question: ['Where is `needle` defined?'],
  unsaved: [],
  previous: null,
  onProgress: () => {},
  ...more,
});
const names = (packed: Packed) => packed.files.map((f) => f.path);

/** Forty functions of about 80 bytes, `needle` among them. */
const MANY = Array.from(
  { length: 40 },
  (_, i) =>
    `export function ${i === 30 ? 'needle' : `other${i}`}(value: number): number {\n  return value + ${i};\n}\n`,
).join('\n');

test('what fits is sent whole, verbatim, with exact counts', async () => {
  const packed = await repository(temporaryFolder({ 'b.ts': 'b', 'a.ts': 'a', 'x.png': 'p' })).pack(
    request(),
  );
  assert.deepEqual(names(packed), ['a.ts', 'b.ts']);
  assert.ok(packed.whole);
  assert.deepEqual(packed.leftOut, [{ path: 'x.png', reason: 'binary' }]);
  const { repositoryEnd } = chatPrompt(tokenizer, [{ role: 'user', text: '?' }], packed.files);
  const { repositoryEnd: empty } = chatPrompt(tokenizer, [{ role: 'user', text: '?' }], []);
  assert.equal(repositoryEnd - empty, packed.tokens);
});

test('rarely changed files stand before often changed ones', async () => {
  const folder = temporaryRepository({ 'a-hot.ts': '0', 'b-cold.ts': '0' });
  for (let i = 1; i <= 4; i++) {
    writeFiles(folder, { 'a-hot.ts': `${i}` });
    git(folder, 'commit', '--all', '--quiet', '--message', `${i}`);
  }
  assert.deepEqual(names(await repository(folder).pack(request())), ['b-cold.ts', 'a-hot.ts']);
});

test('unsaved text goes in, last', async () => {
  const folder = temporaryFolder({ 'a.ts': 'saved', 'b.ts': 'b' });
  const packed = await repository(folder).pack(request({ unsaved: [{ path: 'a.ts', text: 'unsaved' }] }));
  assert.deepEqual(
    packed.files.map((f) => [f.path, f.text]),
    [
      ['b.ts', 'b'],
      ['a.ts', 'unsaved'],
    ],
  );
});

test('what does not fit is ranked; parts say which lines they are; all the rest is listed', async () => {
  const folder = temporaryFolder({ 'src/many.ts': MANY, 'docs/long.md': 'words and words\n'.repeat(200) });
  const packed = await repository(folder).pack(request({ budget: 1200, ceiling: 1500 }));
  assert.equal(packed.whole, false);
  assert.ok(packed.tokens > 0 && packed.tokens <= 1200, `${packed.tokens} tokens`);
  const shown = packed.files.find((f) => f.text.includes('function needle('));
  assert.ok(shown?.lines, 'the part with the definition is there');
  const lines = MANY.split('\n');
  assert.equal(shown.text, lines.slice(shown.lines.first - 1, shown.lines.last).join('\n'));
  assert.deepEqual(packed.leftOut.map((f) => [f.path, f.reason]).sort(), [
    ['docs/long.md', 'budget'],
    ['src/many.ts', 'budget'],
  ]);
  assert.ok(packed.leftOut.every((f) => (f.tokens ?? 0) > 0));
});

test('a follow-up keeps the same head while it serves, and gives it up when it does not', async () => {
  const folder = temporaryFolder({ 'src/many.ts': MANY, 'docs/zebra.md': 'zebra crossing\n'.repeat(300) });
  const context = repository(folder);
  const small = { budget: 1200, ceiling: 1500 };
  const first = await context.pack(request(small));
  const again = await context.pack(
    request({ ...small, previous: first, question: ['Why is needle there?'] }),
  );
  assert.deepEqual(again.files, first.files);
  const why = await context.pack(request({ ...small, previous: first, question: ['And why?'] }));
  assert.deepEqual(why.files, first.files, 'a question without a word to look for changes nothing');
  const other = await context.pack(
    request({ ...small, previous: first, question: ['What about the zebra?'] }),
  );
  assert.ok(names(other).includes('docs/zebra.md'));
  writeFiles(folder, { 'src/many.ts': `// changed\n${MANY}` });
  const changed = await context.pack(request({ ...small, previous: first }));
  assert.deepEqual(
    changed.files.slice(0, first.files.length),
    first.files,
    'an edit leaves the head as it was',
  );
  assert.deepEqual(
    changed.files.slice(first.files.length).map((f) => [f.path, f.text.split('\n')[0]]),
    [['src/many.ts', '// changed']],
  );
});

test('when no word of the question occurs, what introduces the project is shown', async () => {
  const folder = temporaryFolder({ 'zz.ts': MANY, 'README.md': 'Project.' });
  const packed = await repository(folder).pack(request({ budget: 600, question: ['qqq?'] }));
  assert.ok(names(packed).includes('README.md'));
});

test('links, vanished and closed files are listed, not fatal', async () => {
  const folder = temporaryRepository({ 'a.ts': 'a', 'gone.ts': 'g' });
  unlinkSync(path.join(folder, 'gone.ts'));
  symlinkSync('/etc/passwd', path.join(folder, 'link.ts'));
  const packed = await repository(folder).pack(request());
  assert.deepEqual(names(packed), ['a.ts']);
  assert.deepEqual(packed.leftOut, [
    { path: 'gone.ts', reason: 'unreadable' },
    { path: 'link.ts', reason: 'link' },
  ]);
});

test('a budget of nothing shows nothing and lists everything', async () => {
  const packed = await repository(temporaryFolder({ 'a.ts': 'a' })).pack(request({ budget: 0, ceiling: 0 }));
  assert.deepEqual(names(packed), []);
  assert.equal(packed.leftOut.length, 1);
});

test('it can be cancelled', async () => {
  const folder = temporaryFolder({ 'a.ts': 'a' });
  await assert.rejects(repository(folder).pack(request({ signal: AbortSignal.abort() })), {
    name: 'AbortError',
  });
});

test('what a person drops stays out, what is pinned goes in whole and first, and too much of it is an error', async () => {
  const folder = temporaryFolder({
    'src/many.ts': MANY,
    'src/other.ts': 'export const other = 1;\n',
    'gen/a.ts': `// DO NOT EDIT\n${'x();\n'.repeat(60)}`,
    '.env': 'KEY=1',
  });
  const context = repository(folder);
  const choice = { pinned: ['gen', '.env'], dropped: ['src', 'gen/never.ts'] };
  const packed = await context.pack(request({ choice }));
  assert.deepEqual(names(packed), ['gen/a.ts']);
  assert.deepEqual(packed.leftOut, [
    { path: '.env', reason: 'secret' },
    { path: 'src/many.ts', reason: 'dropped' },
    { path: 'src/other.ts', reason: 'dropped' },
  ]);
  const pinned = { pinned: ['gen/a.ts'], dropped: [] };
  const little = await context.pack(request({ budget: 900, ceiling: 1000, choice: pinned }));
  assert.equal(little.files[0]?.path, 'gen/a.ts');
  assert.ok(little.tokens <= 900);
  await assert.rejects(context.pack(request({ budget: 100, ceiling: 100, choice: pinned })), (error) => {
    assert.ok(error instanceof ContextFullError);
    assert.match(error.message, /pinned files take/);
    return error.offers[0]?.name === 'gen/a.ts' && error.offers[0].kind === 'pin';
  });
});

test('a repository within the repository is named, not read', async () => {
  const folder = temporaryRepository({ 'a.ts': 'a' });
  writeFiles(folder, { 'nested/secret.ts': 's' });
  git(path.join(folder, 'nested'), 'init', '--quiet');
  git(path.join(folder, 'nested'), 'add', '--all');
  git(path.join(folder, 'nested'), 'commit', '--quiet', '--message', 'Nested');
  const packed = await repository(folder).pack(request());
  assert.deepEqual(names(packed), ['a.ts']);
  assert.deepEqual(packed.leftOut, [{ path: 'nested/', reason: 'repository' }]);
});
