import assert from 'node:assert/strict';
import { symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { DIRECT_DISK, ThreadDisk } from '../../sidecar/context/disk.ts';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import { temporaryFolder, writeFiles } from '../support/repository.ts';

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
    looked.map((entry) => entry?.kind ?? null),
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
