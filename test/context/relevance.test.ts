import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf } from '../../sidecar/context/chunks.ts';
import { passageOf, scorePassages, wordsOf } from '../../sidecar/context/relevance.ts';

test('identifiers count whole and in their parts', () => {
  assert.deepEqual(wordsOf('parseHTTPHeader max_line_bytes'), [
    'parsehttpheader',
    'parse',
    'http',
    'header',
    'max_line_byte',
    'max',
    'line',
    'byte',
  ]);
});

const best = (texts: Readonly<Record<string, string>>, ...questions: string[]) => {
  const names = Object.keys(texts);
  const scores = scorePassages(
    names.map((name) => passageOf(name, texts[name]!)),
    questions,
  );
  return names[scores.indexOf(Math.max(...scores))];
};

test('the definition wins over uses, the path counts, the question before counts a little', () => {
  const texts = {
    'src/math.ts': 'export function add(a: number, b: number) { return a + b; }',
    'src/use.ts': 'import { add } from "./math.ts";\nadd(add(1, 2), add(3, 4));',
    'src/retry.ts': 'export const delay = 5;',
    'src/server.ts': 'listen(8080)',
  };
  assert.equal(best(texts, 'Where is `add` defined?'), 'src/math.ts');
  assert.equal(best(texts, 'how does the retry work'), 'src/retry.ts');
  assert.equal(best(texts, 'and on which port?', 'Tell me about the server'), 'src/server.ts');
});

test('a question of common words scores nothing', () => {
  assert.deepEqual([...scorePassages([passageOf('a', 'what is this')], ['What is this?'])], [0]);
});

test('parts cover a file without gaps and end where something ends', () => {
  const text = Array.from({ length: 40 }, (_, i) => `def f${i}():\n    a = ${i}\n    return a\n`).join('\n');
  const chunks = chunksOf(text, 300);
  assert.ok(chunks.length > 4);
  assert.equal(chunks.map((c) => c.text).join('\n'), text.replace(/\n+$/, ''));
  for (const [i, chunk] of chunks.entries()) {
    assert.equal(chunk.first, (chunks[i - 1]?.last ?? 0) + 1);
    assert.ok(chunk.text.length <= 300);
    assert.match(chunk.text, /^def /);
  }
});

test('a line longer than a part stays whole', () => {
  assert.deepEqual(
    chunksOf(`a\n${'x'.repeat(1000)}\nb`, 100).map((c) => [c.first, c.last]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  );
});
