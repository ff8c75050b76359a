import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { listFiles, WorkspaceError } from '../../sidecar/context/repository.ts';
import { git, temporaryFolder, temporaryRepository, writeFiles } from '../support/repository.ts';

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
