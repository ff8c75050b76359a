import assert from 'node:assert/strict';
import { readdirSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import { listFiles, WorkspaceError } from '../../sidecar/context/repository.ts';
import { git, temporaryFolder, temporaryRepository, writeFiles } from '../support/repository.ts';

const REQUEST = { unsaved: [], onProgress: () => {} };
const paths = async (folder: string) => (await listFiles([{ folder, label: null }])).map((f) => f.path);

const FILES = {
  '.gitignore': '*.log\n/build/\n',
  'a.ts': 'a',
  'x.log': 'log',
  'build/out.js': 'out',
  'lib/build/kept.js': 'kept',
  'lib/.gitignore': 'local.*\n!important.log\n',
  'lib/local.txt': 'ignored here',
  'lib/important.log': 'kept again',
  'local.txt': 'kept',
  'ü ö/ß.md': 'odd name',
};
const EXPECTED = [
  '.gitignore',
  'a.ts',
  'lib/.gitignore',
  'lib/build/kept.js',
  'lib/important.log',
  'local.txt',
  'ü ö/ß.md',
];

test('with git: tracked files and new ones, but not ignored ones', async () => {
  const folder = temporaryRepository({ 'a.ts': 'a', '.gitignore': FILES['.gitignore'] });
  writeFiles(folder, FILES);
  assert.deepEqual(await paths(folder), EXPECTED);
});

test('without git: a walk with the same rules, nested .gitignore files included', async () => {
  const folder = temporaryFolder({ ...FILES, 'node_modules/m/index.js': 'm' });
  assert.deepEqual(await paths(folder), EXPECTED);
});

test('a folder inside a repository gives only its own files', async () => {
  const folder = temporaryRepository({ 'outside.ts': 'o', 'sub/inside.ts': 'i' });
  assert.deepEqual(await paths(path.join(folder, 'sub')), ['inside.ts']);
});

test('a folder link is not walked', async () => {
  const outside = temporaryFolder({ 'secret.ts': 's' });
  const folder = temporaryFolder({ 'a.ts': 'a' });
  symlinkSync(outside, path.join(folder, 'link'));
  assert.ok(!(await paths(folder)).some((p) => p.includes('secret')));
  git(folder, 'init', '--quiet');
  assert.ok(!(await paths(folder)).some((p) => p.includes('secret')));
});

test('links that lead round in a circle are listed once, as links', async () => {
  const folder = temporaryFolder({ 'a.ts': 'a', 'sub/b.ts': 'b' });
  symlinkSync('..', path.join(folder, 'sub/up'));
  symlinkSync('self', path.join(folder, 'self'));
  const expected = ['a.ts', 'self', 'sub/b.ts', 'sub/up'];
  assert.deepEqual(await paths(folder), expected);
  git(folder, 'init', '--quiet');
  assert.deepEqual(await paths(folder), expected);
});

test('names that differ only in their case are files of their own, where the disk has both', async (t) => {
  const folder = temporaryFolder({ 'Case.ts': 'upper', 'case.ts': 'lower' });
  if (readdirSync(folder).length < 2) return t.skip('this file system takes them for the same');
  assert.deepEqual(await paths(folder), ['Case.ts', 'case.ts']);
  const { sources } = await new RepositoryContext([{ folder, label: null }]).read(REQUEST);
  assert.deepEqual(
    sources.map(({ path, text }) => [path, text]),
    [
      ['Case.ts', 'upper'],
      ['case.ts', 'lower'],
    ],
  );
});

test('files that change, come and go while they are read: what was there at some moment, then what is there', async () => {
  const names = Array.from({ length: 60 }, (_, i) => `f${i}.ts`);
  const folder = temporaryFolder(Object.fromEntries(names.map((name) => [name, 'old\n'])));
  const context = new RepositoryContext([{ folder, label: null }]);
  let next = 0;
  const during = await context.read({
    unsaved: [],
    onProgress: () => {
      const name = names[next++ % names.length]!;
      if (next % 3 === 0) unlinkSync(path.join(folder, name));
      else writeFiles(folder, { [name]: `new ${next}\n`, [`more${next}.ts`]: 'more\n' });
    },
  });
  assert.ok(during.sources.every(({ text }) => /^(?:old|new \d+)?\n?$/.test(text)));
  assert.equal(during.sources.length + during.leftOut.length, names.length);
  const { sources } = await context.read(REQUEST);
  assert.deepEqual(
    sources.map(({ path, text }) => [path, text]),
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]),
  );
});

test('several roots, one without git and one with a repository inside: all are read, the inner one is named', async () => {
  const one = temporaryFolder({ 'a.ts': 'a' });
  const two = temporaryRepository({ 'a.ts': 'a' });
  writeFiles(two, { 'inner/b.ts': 'b' });
  git(path.join(two, 'inner'), 'init', '--quiet');
  git(path.join(two, 'inner'), 'add', '--all');
  git(path.join(two, 'inner'), 'commit', '--quiet', '--message', 'Inner');
  const roots = [
    { folder: one, label: 'one' },
    { folder: two, label: 'two' },
  ];
  const { sources, leftOut } = await new RepositoryContext(roots).read(REQUEST);
  assert.deepEqual(
    sources.map(({ path }) => path),
    ['one/a.ts', 'two/a.ts'],
  );
  assert.deepEqual(leftOut, [{ path: 'two/inner/', reason: 'repository' }]);
});

test('several roots are labelled', async () => {
  const one = temporaryFolder({ 'a.ts': 'a' });
  const two = temporaryFolder({ 'a.ts': 'a' });
  const files = await listFiles([
    { folder: one, label: 'one' },
    { folder: two, label: 'two' },
  ]);
  assert.deepEqual(
    files.map((f) => f.path),
    ['one/a.ts', 'two/a.ts'],
  );
});

test('a missing folder, or a file, is an error in words', async () => {
  const folder = temporaryFolder({ 'a.ts': 'a' });
  await assert.rejects(
    paths(path.join(folder, 'gone')),
    (e) => e instanceof WorkspaceError && /does not exist/.test(e.message),
  );
  await assert.rejects(paths(path.join(folder, 'a.ts')), /is not a folder/);
});

test('a repository cannot make git run a program', async () => {
  const folder = temporaryRepository({ 'a.ts': 'a' });
  const marker = path.join(folder, 'ran');
  writeFiles(folder, { 'monitor.sh': `#!/bin/sh\ntouch '${marker}'\n` });
  git(folder, 'config', 'core.fsmonitor', `sh '${path.join(folder, 'monitor.sh')}'`);
  assert.ok(!(await paths(folder)).includes('ran'));
});
