import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findCitations } from '../../sidecar/prompt/citations.ts';

const paths = ['src/a.ts', 'src/deep/b.ts', 'lib/b.ts', 'README.md', 'Makefile'];
const found = (answer: string) => findCitations(answer, paths).map(({ path, line }) => `${path}:${line}`);

test('whole paths, unique tails and files without a suffix are found', () => {
  assert.deepEqual(found('`add` is in src/a.ts:1, see ./src/a.ts:20 (a.ts:3) and Makefile:4.'), [
    'src/a.ts:1',
    'src/a.ts:20',
    'src/a.ts:3',
    'Makefile:4',
  ]);
});

test('unknown, ambiguous and senseless ones are not', () => {
  assert.deepEqual(found('b.ts:1 other.ts:2 http://a:80 12:30 src/a.ts:0 src/a.ts'), []);
  assert.deepEqual(found('deep/b.ts:7'), ['src/deep/b.ts:7']);
});

test('offsets point at the text', () => {
  const answer = 'é “src/a.ts:12”';
  const [citation] = findCitations(answer, paths);
  assert.equal(answer.slice(citation!.start, citation!.end), 'src/a.ts:12');
});

test('text without end, as a model may produce it, is searched in linear time', () => {
  const text = `${'word'.repeat(100_000)}:1${'/a.'.repeat(100_000)}`;
  assert.deepEqual(findCitations(text, paths), []);
});
