import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { shouldFold } from '../../sidecar/context/fold.ts';
import { HeadStore } from '../../sidecar/context/head-store.ts';
import { type JournalEntry, untold } from '../../sidecar/context/journal.ts';
import { lineChanges } from '../../sidecar/context/line-changes.ts';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import type { Packed } from '../../sidecar/context/packed.ts';
import { chatPrompt } from '../../sidecar/prompt/chat-prompt.ts';
import { git, temporaryFolder, temporaryRepository, writeFiles } from '../support/repository.ts';
import { ByteTokenizer } from '../support/scripted-engine.ts';

const tokenizer = new ByteTokenizer();
const BIG = { tokenizer, budget: 100_000, ceiling: 120_000, question: ['?'], onProgress: () => {} };

/** The prompt of a question about what was packed. */
function promptOf(packed: Packed): Buffer {
  const changes = packed.journal.map(({ text }) => text);
  const turn = { role: 'user', text: '?', changes } as const;
  const { ids, questionStart } = chatPrompt(tokenizer, [turn], packed.head.files);
  return Buffer.from(Uint16Array.from(ids.subarray(0, questionStart)).buffer);
}
const textOf = (packed: Packed) =>
  tokenizer.decode(packed.files.slice(packed.head.files.length).flatMap(({ ids }) => [...ids]));

/** A file of `lines` lines, each its own. */
const file = (name: string, lines = 60) =>
  Array.from({ length: lines }, (_, i) => `export const ${name}${i} = ${i};\n`).join('');

test('changes of lines, applied to the old text, give the new one', () => {
  const texts = fc.array(fc.constantFrom('a', 'b', 'c', '', 'd e'), { maxLength: 40 });
  fc.assert(
    fc.property(texts, texts, (before, after) => {
      const result: string[] = [];
      let at = 0;
      for (const { oldFirst, oldCount, newFirst, newCount } of lineChanges(before, after)) {
        result.push(...before.slice(at, oldFirst - 1), ...after.slice(newFirst - 1, newFirst - 1 + newCount));
        at = oldFirst - 1 + oldCount;
      }
      assert.deepEqual([...result, ...before.slice(at)], after);
    }),
    { numRuns: 2000 },
  );
});

test('an edit is told after the head: its lines, from where, to where', async () => {
  const folder = temporaryRepository({ 'a.ts': file('a'), 'b.ts': file('b') });
  const context = new RepositoryContext([{ folder, label: null }]);
  const first = await context.pack({ ...BIG, unsaved: [], previous: null });
  const lines = file('a').split('\n');
  const edited = lines.toSpliced(10, 2, 'one();', 'two();', 'three();').join('\n');
  const next = await context.pack({ ...BIG, unsaved: [{ path: 'a.ts', text: edited }], previous: first });
  assert.equal(
    textOf(next),
    '\n\nSince then a.ts has changed: lines 11-12 are lines 11-13 now.\n\n' +
      '=== a.ts\n10| export const a9 = 9;\none();\ntwo();\nthree();\nexport const a12 = 12;'.replace(
        'one();\ntwo();\nthree();\nexport',
        '11| one();\n12| two();\n13| three();\n14| export',
      ),
  );
  assert.equal(
    next.tokens,
    next.files.reduce((sum, f) => sum + f.ids.length, 0),
  );
  const back = await context.pack({ ...BIG, unsaved: [], previous: next });
  assert.deepEqual(back.files, first.files, 'an edit taken back leaves nothing');
});

test('deleted, renamed and new files are told', async () => {
  const folder = temporaryRepository({ 'a.ts': file('a'), 'b.ts': file('b'), 'c.ts': file('c') });
  const context = new RepositoryContext([{ folder, label: null }]);
  const first = await context.pack({ ...BIG, unsaved: [], previous: null });
  unlinkSync(path.join(folder, 'a.ts'));
  renameSync(path.join(folder, 'b.ts'), path.join(folder, 'z.ts'));
  writeFiles(folder, { 'new.ts': 'export const fresh = 1;\n' });
  const next = await context.pack({ ...BIG, unsaved: [], previous: first });
  assert.deepEqual(next.journal.map(({ path, change }) => `${change} ${path}`).sort(), [
    'deleted a.ts',
    'new new.ts',
    'renamed z.ts',
  ]);
  assert.match(textOf(next), /Since then b\.ts was renamed to z\.ts\./);
  assert.match(textOf(next), /Since then a\.ts was deleted\./);
  assert.match(textOf(next), /Since then new\.ts was added:\n\n=== new\.ts\n1\| export const fresh/);
});

test('a conversation is told each change once, and when it no longer holds', async () => {
  const folder = temporaryRepository({ 'a.ts': file('a'), 'b.ts': file('b') });
  const context = new RepositoryContext([{ folder, label: null }]);
  let packed = await context.pack({ ...BIG, unsaved: [], previous: null });
  const told: JournalEntry[] = [];
  const tell = async (files: Record<string, string>) => {
    writeFiles(folder, files);
    packed = await context.pack({ ...BIG, unsaved: [], previous: packed });
    const now = untold(tokenizer, packed.journal, told);
    told.push(...now);
    return now.map(({ text }) => text.split('\n')[0]);
  };
  const edited = file('a').replace('a30 = 30', 'a30 = 31');
  assert.deepEqual(await tell({ 'a.ts': edited }), ['Since then a.ts has changed: line 31 is line 31 now.']);
  assert.deepEqual(await tell({}), []);
  assert.deepEqual(await tell({ 'c.ts': 'let c;\n' }), ['Since then c.ts was added:']);
  assert.deepEqual(await tell({ 'a.ts': edited.replace('a9 = 9', 'a9 = 8') }), [
    'Since then a.ts has changed: line 10 is line 10 now; line 31 is line 31 now.',
  ]);
  unlinkSync(path.join(folder, 'c.ts'));
  renameSync(path.join(folder, 'b.ts'), path.join(folder, 'z.ts'));
  assert.deepEqual(await tell({ 'a.ts': file('a') }), [
    'Since then a.ts is again as it was at first.',
    'Since then c.ts was deleted.',
    'Since then b.ts was renamed to z.ts.',
  ]);
  renameSync(path.join(folder, 'z.ts'), path.join(folder, 'b.ts'));
  assert.deepEqual(await tell({}), ['Since then z.ts is called b.ts again.']);
  assert.deepEqual(await tell({ 'a.ts': edited }), ['Since then a.ts has changed: line 31 is line 31 now.']);
});

test('over an hour of editing the head stays the same to the byte, and each edit costs little', async () => {
  const names = Array.from({ length: 20 }, (_, i) => `src/file${String(i).padStart(2, '0')}.ts`);
  const folder = temporaryRepository(Object.fromEntries(names.map((name, i) => [name, file(`f${i}_`)])));
  const context = new RepositoryContext([{ folder, label: null }]);
  let packed = await context.pack({ ...BIG, unsaved: [], previous: null });
  const head = Buffer.from(promptOf(packed));
  let before: Buffer = head;
  const ask = async (unsaved: { path: string; text: string }[] = []) => {
    packed = await context.pack({ ...BIG, unsaved, previous: packed });
    const now = promptOf(packed);
    assert.ok(now.subarray(0, head.length).equals(head), 'the head is the same to the byte');
    let same = 0;
    while (same < Math.min(now.length, before.length) && now[same] === before[same]) same++;
    before = now;
    return (now.length - same) / 2;
  };
  const costs: number[] = [];
  for (const [i, name] of names.slice(0, 8).entries()) {
    const lines = file(`f${i}_`).split('\n');
    // Typed, not saved; typed on; saved; asked again without a change.
    costs.push(await ask([{ path: name, text: lines.with(20, 'typing').join('\n') }]));
    costs.push(await ask([{ path: name, text: lines.with(20, 'typing more').join('\n') }]));
    writeFiles(folder, { [name]: lines.with(20, 'typing more').join('\n') });
    assert.equal(await ask(), 0, 'saving what was seen costs nothing');
    assert.equal(await ask(), 0, 'asking again costs nothing');
  }
  git(folder, 'commit', '--all', '--quiet', '--message', 'work');
  assert.equal(await ask(), 0, 'a commit costs nothing');
  git(folder, 'checkout', '--quiet', 'HEAD~1');
  await ask();
  assert.equal(packed.journal.length, 0, 'back where it began');
  git(folder, 'checkout', '--quiet', '-');
  costs.push((await ask()) / 8);
  writeFiles(folder, { 'src/added.ts': 'export {};\n' });
  costs.push(await ask());
  renameSync(path.join(folder, names[19]!), path.join(folder, 'src/moved.ts'));
  costs.push(await ask());
  assert.ok(Math.max(...costs) < 400, `${Math.max(...costs)} bytes at most of ${head.length / 2}`);
});

test('the journal is folded in when that is cheaper, too much is told, or it does not fit', () => {
  const cost = { headTokens: 60_000, journalTokens: 2000, spent: 2000, foldTokens: 30_000, room: 100_000 };
  assert.equal(shouldFold(cost), false);
  assert.equal(shouldFold({ ...cost, spent: 30_000 }), true);
  assert.equal(shouldFold({ ...cost, journalTokens: 16_000 }), true);
  assert.equal(shouldFold({ ...cost, room: 61_000 }), true);
  assert.equal(shouldFold({ ...cost, journalTokens: 100, spent: 90_000 }), false);
});

test('folding keeps the unchanged beginning and moves what changed to the end', async () => {
  const folder = temporaryRepository({ 'a.ts': file('a'), 'b.ts': file('b'), 'c.ts': file('c') });
  const context = new RepositoryContext([{ folder, label: null }]);
  const first = await context.pack({ ...BIG, unsaved: [], previous: null });
  writeFiles(folder, { 'b.ts': file('other') });
  const next = await context.pack({ ...BIG, unsaved: [], previous: first });
  assert.deepEqual(
    next.files.map((f) => f.path),
    ['a.ts', 'c.ts', 'b.ts'],
  );
  assert.equal(next.journal.length, 0);
  assert.equal(next.head.spent, 0);
});

test('after a restart the head is the same, edits since then are told, and a damaged head is as none', async () => {
  const folder = temporaryRepository({ 'a.ts': file('a'), 'b.ts': file('b'), 'c.ts': file('c') });
  const cache = temporaryFolder();
  const started = () => new RepositoryContext([{ folder, label: null }], cache);
  const first = await started().pack({ ...BIG, unsaved: [], previous: null });
  writeFiles(folder, { 'a.ts': file('a').replace('a30 = 30', 'a30 = 31') });
  const next = await started().pack({ ...BIG, unsaved: [], previous: null });
  const head = promptOf(first);
  assert.ok(promptOf(next).subarray(0, head.length).equals(head));
  assert.deepEqual(
    next.journal.map(({ path, change }) => `${change} ${path}`),
    ['edited a.ts'],
  );
  const stored = path.join(cache, 'heads', readdirSync(path.join(cache, 'heads'))[0]!);
  assert.equal(statSync(stored).mode & 0o777, 0o600);
  const text = readFileSync(stored, 'utf8');
  for (const damage of [text.slice(0, -5), text.replace('a30', 'a3l'), '', 'x', text.replace('1 ', '2 ')]) {
    writeFileSync(stored, damage);
    assert.equal(await new HeadStore(cache).load([{ folder, label: null }], tokenizer.size), null);
  }
  const fresh = await started().pack({ ...BIG, unsaved: [], previous: null });
  assert.equal(fresh.journal.length, 0);
  await new HeadStore(cache).clear();
  assert.deepEqual(readdirSync(cache), []);
});
