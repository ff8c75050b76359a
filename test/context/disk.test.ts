import assert from 'node:assert/strict';
import { symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { DIRECT_DISK, ThreadDisk } from '../../sidecar/context/disk.ts';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import { FileLister } from '../../sidecar/context/repository.ts';
import { git, temporaryFolder, temporaryRepository, writeFiles } from '../support/repository.ts';

test('a thread sees and reads what the process itself would', async () => {
  const folder = temporaryFolder({
    'a.ts': 'let a;\r\n',
    'b.bin': Uint8Array.of(1, 0, 2),
    'c.ts': '// @generated\n',
    'sub/d.ts': '',
  });
  symlinkSync('a.ts', path.join(folder, 'link.ts'));
  const paths = ['a.ts', 'b.bin', 'c.ts', 'sub', 'sub/d.ts', 'link.ts', 'gone.ts'].map((name) =>
    path.join(folder, name),
  );
  const items = [...paths.map((path) => ({ path, pinned: false })), { path: paths[2]!, pinned: true }];
  const thread = new ThreadDisk();
  const looked = await thread.look(paths);
  assert.deepEqual(looked, await DIRECT_DISK.look(paths));
  assert.deepEqual(
    paths.map((_, i) => looked.at(i)?.kind ?? null),
    ['file', 'file', 'file', 'folder', 'file', 'other', null],
  );
  const read = await thread.read(items);
  assert.deepEqual(read, await DIRECT_DISK.read(items));
  assert.deepEqual(read.slice(0, 3), [{ text: 'let a;\n' }, { reason: 'binary' }, { reason: 'generated' }]);
  assert.deepEqual(read.slice(5), [
    { reason: 'unreadable' },
    { reason: 'unreadable' },
    { text: '// @generated\n' },
  ]);
  const asked = thread.look(Array.from({ length: 50_000 }, () => paths[0]!));
  void asked.catch(() => {});
  await thread.close();
  const afterwards = thread.look(paths);
  await assert.rejects(asked, /has ended/);
  await assert.rejects(afterwards, /has ended/);
});

test('a large workspace is read the same way: everything once, then what changed', async () => {
  const names = Array.from({ length: 2100 }, (_, i) => `f${String(i).padStart(4, '0')}.txt`);
  const folder = temporaryFolder(Object.fromEntries(names.map((name) => [name, `${name}\n`])));
  const context = new RepositoryContext([{ folder, label: null }]);
  const request = { unsaved: [], onProgress: () => {} };
  const first = await context.read(request);
  assert.deepEqual(
    first.sources.map(({ path, text }) => [path, text]),
    names.map((name) => [name, `${name}\n`]),
  );
  writeFiles(folder, { [names[7]!]: 'another text\n', 'new.txt': 'new\n' });
  unlinkSync(path.join(folder, names[9]!));
  const second = await context.read(request);
  assert.equal(second.sources.length, names.length);
  const before = new Map(first.sources.map((file) => [file.path, file]));
  const fresh = second.sources.filter((file) => before.get(file.path) !== file).map(({ path }) => path);
  assert.deepEqual(fresh, [names[7], 'new.txt']);
});

test('where nothing has changed the lists are the same objects, and a change is seen in them', async () => {
  const names = Array.from({ length: 2100 }, (_, i) => `f${i}.txt`);
  const folder = temporaryRepository(Object.fromEntries(names.map((name) => [name, name])));
  const roots = [{ folder, label: null }];
  const lister = new FileLister(roots);
  const files = await lister.list();
  assert.equal(await lister.list(), files);
  const context = new RepositoryContext(roots);
  const request = { unsaved: [], onProgress: () => {} };
  const first = await context.read(request);
  assert.equal(await context.read(request), first);
  const edited = await context.read({ ...request, unsaved: [{ path: 'f7.txt', text: 'typed' }] });
  assert.equal(edited.sources.find(({ path }) => path === 'f7.txt')?.text, 'typed');
  assert.equal((await context.read(request)).sources.find(({ path }) => path === 'f7.txt')?.text, 'f7.txt');
  writeFiles(folder, { 'f9.txt': 'written' });
  assert.equal((await context.read(request)).sources.find(({ path }) => path === 'f9.txt')?.text, 'written');
  writeFiles(folder, { 'new.txt': 'new' });
  unlinkSync(path.join(folder, 'f3.txt'));
  const paths = (await lister.list()).map((file) => file.path);
  assert.ok(
    paths.includes('new.txt') && paths.includes('f3.txt'),
    'git lists what it tracks, also where it is gone',
  );
  assert.equal((await context.read(request)).leftOut[0]?.path, 'f3.txt');
});

test('a file in conflict is listed once', async () => {
  const folder = temporaryRepository({ 'a.ts': 'first\n', 'b.ts': 'b\n' });
  git(folder, 'checkout', '--quiet', '-b', 'other');
  writeFiles(folder, { 'a.ts': 'other\n' });
  git(folder, 'commit', '--all', '--quiet', '--message', 'Other');
  git(folder, 'checkout', '--quiet', '-');
  writeFiles(folder, { 'a.ts': 'mine\n' });
  git(folder, 'commit', '--all', '--quiet', '--message', 'Mine');
  assert.throws(() => git(folder, 'merge', '--quiet', 'other'));
  const files = await new FileLister([{ folder, label: null }]).list();
  assert.deepEqual(
    files.map((file) => file.path),
    ['a.ts', 'b.ts'],
  );
});
