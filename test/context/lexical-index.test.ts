import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { SourceFile } from '../../sidecar/context/files.ts';
import { queryOf } from '../../sidecar/context/question.ts';
import { passageOf, scorePassages } from '../../sidecar/context/relevance.ts';
import {
  clearIndexFiles,
  indexFileOf,
  readIndexFile,
  writeIndexFile,
} from '../../sidecar/context/search/index-file.ts';
import { LexicalIndex } from '../../sidecar/context/search/lexical-index.ts';
import { SearchThread } from '../../sidecar/context/search/search-thread.ts';
import { temporaryFolder } from '../support/repository.ts';

const QUESTIONS = [
  'Where is `lineNumbers` decoded, and by which decoder?',
  'How does the retry queue work?',
  'What is `Ünïcode_größe`?',
  'What is this?',
  'constructor toString __proto__',
].map((question) => queryOf([question, 'And the parser of tokens?']));

const WORDS =
  'lineNumbers line_numbers decoder decoded retry Retries queue parser parseToken token_parser größe Ünïcode_größe ' +
  'constructor toString __proto__ function class const $ _ a x1 HTTPServer export = ; \n';
const texts = fc
  .array(fc.constantFrom(...WORDS.split(' ')), { maxLength: 60 })
  .map((words) => words.join(' '));

/** What looking at every text anew gives. */
function scan(
  files: readonly { readonly path: string; readonly text: string }[],
  query: (typeof QUESTIONS)[number],
) {
  return [
    ...scorePassages(
      files.map(({ path, text }) => passageOf(path, text)),
      query,
    ),
  ];
}

test('after any edits the index scores every text as looking at all of them does, bit for bit', () => {
  const edits = fc.array(
    fc.array(fc.tuple(fc.nat({ max: 30 }), fc.option(texts, { freq: 3 })), { minLength: 1, maxLength: 20 }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(edits, (rounds) => {
      const index = new LexicalIndex();
      const now = new Map<number, { path: string; text: string }>();
      for (const round of rounds) {
        // Of several edits of one file in a round the last one counts.
        const last = new Map(round);
        const removed = [...last.keys()].filter((id) => now.has(id));
        for (const id of removed) now.delete(id);
        for (const [id, text] of last)
          if (text !== null) now.set(id, { path: `src/parser${id % 7}/f${id}.ts`, text });
        index.update(
          removed,
          [...last.keys()].flatMap((id) => (now.has(id) ? [{ id, ...now.get(id)! }] : [])),
        );
        for (const query of QUESTIONS) {
          const scores = index.search(query);
          const ids = [...now.keys()];
          assert.deepEqual(
            ids.map((id) => scores[id]),
            scan([...now.values()], query),
          );
        }
      }
      const again = new LexicalIndex(index.whole());
      again.update(
        [],
        [...now].map(([id, file]) => ({ id, ...file })),
      );
      assert.equal(again.unsavedCharacters, 0, 'texts that are known are not looked at again');
      for (const query of QUESTIONS) assert.deepEqual(again.search(query), index.search(query));
    }),
    { numRuns: 60 },
  );
});

test('many segments and many texts that are gone are merged', () => {
  const index = new LexicalIndex();
  const text = (i: number) => `export function retry${i % 50}() { return queue${i}; }`;
  for (let i = 0; i < 2000; i++)
    index.update(i >= 100 ? [i % 100] : [], [{ id: i % 100, path: `f${i}.ts`, text: text(i) }]);
  const files = Array.from({ length: 100 }, (_, i) => ({ path: `f${1900 + i}.ts`, text: text(1900 + i) }));
  assert.equal(index.texts, 100);
  for (const query of QUESTIONS) assert.deepEqual([...index.search(query)], scan(files, query));
  assert.equal(index.whole().documents, 100);
});

test('an index on disk is read again; damaged, cut short or foreign it is as absent', () => {
  const cache = temporaryFolder();
  const file = indexFileOf(cache, [{ folder: '/w', label: null }]);
  assert.equal(readIndexFile(file), null);
  const index = new LexicalIndex();
  index.update([], [{ id: 0, path: 'a.ts', text: 'export function retry() {}' }]);
  const segment = index.whole();
  writeIndexFile(file, segment);
  assert.deepEqual(readIndexFile(file), segment);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const bytes = readFileSync(file);
  for (let i = 0; i < bytes.length; i++) {
    const damaged = Buffer.from(bytes);
    damaged[i]! ^= 1 << (i % 8);
    writeFileSync(file, damaged);
    assert.equal(readIndexFile(file), null, `byte ${i}`);
    writeFileSync(file, bytes.subarray(0, i));
    assert.equal(readIndexFile(file), null, `${i} bytes`);
  }
  writeFileSync(file, bytes);
  assert.deepEqual(readdirSync(path.dirname(file)), [path.basename(file)], 'nothing is left of writing');
  clearIndexFiles(cache);
  assert.deepEqual(readdirSync(cache), []);
});

test('the thread keeps up with files that come, change and go, and finds them after a restart', async () => {
  const file = indexFileOf(temporaryFolder(), []);
  const source = (i: number, text: string) => new SourceFile(`src/f${i}.ts`, text, `${i} ${text.length}`);
  const long = 'const queue = retry(lineNumbers);\n'.repeat(100);
  let files = Array.from({ length: 120 }, (_, i) =>
    source(i, `export function parseToken${i}() {}\n${long}`),
  );
  const first = new SearchThread(file);
  const query = QUESTIONS[0]!;
  assert.deepEqual([...(await first.scores(files, query))], scan(files, query));
  const [one, other] = await Promise.all([
    first.scores([...files.slice(40), source(200, 'the decoder')], query),
    first.scores(files.slice(0, 50), query),
  ]);
  assert.deepEqual([...one], scan([...files.slice(40), source(200, 'the decoder')], query));
  assert.deepEqual([...other], scan(files.slice(0, 50), query));
  assert.ok(readIndexFile(file), 'it was kept');
  files = [...files.slice(10), source(300, 'decoded again')];
  assert.deepEqual([...(await new SearchThread(file).scores(files, query))], scan(files, query));
  await assert.rejects(first.scores(files, query, AbortSignal.abort()), { name: 'AbortError' });
  assert.deepEqual([...(await first.scores(files, query))], scan(files, query));
});
