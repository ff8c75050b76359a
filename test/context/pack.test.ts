import assert from 'node:assert/strict';
import { symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type Packed, type PackRequest, RepositoryContext } from '../../sidecar/context/pack.ts';
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
  assert.equal(again, first);
  const why = await context.pack(request({ ...small, previous: first, question: ['And why?'] }));
  assert.equal(why, first, 'a question without a word to look for changes nothing');
  const other = await context.pack(
    request({ ...small, previous: first, question: ['What about the zebra?'] }),
  );
  assert.ok(names(other).includes('docs/zebra.md'));
  writeFiles(folder, { 'src/many.ts': `// changed\n${MANY}` });
  const changed = await context.pack(request({ ...small, previous: first }));
  assert.notEqual(changed, first);
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
