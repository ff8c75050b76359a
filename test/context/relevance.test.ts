import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, headingOf } from '../../sidecar/context/chunks.ts';
import { kindWeights, pathTraits } from '../../sidecar/context/path-kind.ts';
import { queryOf } from '../../sidecar/context/question.ts';
import { passageOf, scorePassages } from '../../sidecar/context/relevance.ts';
import { stem, wordsOf } from '../../sidecar/context/words.ts';

test('identifiers count whole, whatever joins their parts, and in their parts', () => {
  assert.deepEqual(wordsOf('parseHTTPHeader max_line_bytes'), [
    'parsehttphead',
    'pars',
    'http',
    'head',
    'maxlinebyt',
    'max',
    'lin',
    'byt',
  ]);
  assert.equal(wordsOf('rmsNorm')[0], wordsOf('rms_norm')[0]);
});

test('the forms of a word meet, different words do not', () => {
  for (const forms of [
    'decode decodes decoded decoding decoder',
    'cancel cancels cancelled cancelling',
    'query queries',
    'crash crashes crashed',
    'quantise quantize quantization quantisation',
    'run running',
    'die died dies',
  ]) {
    assert.equal(new Set(forms.split(' ').map(stem)).size, 1, forms);
  }
  assert.equal(new Set(['string', 'strip', 'thing', 'class', 'file', 'fit'].map(stem)).size, 6);
});

test('a very long word costs no more than reading it', () => {
  assert.equal(wordsOf(`${'a'.repeat(500_000)}ing`)[0]?.length, 500_003);
});

const best = (texts: Readonly<Record<string, string>>, ...questions: string[]) => {
  const names = Object.keys(texts);
  const scores = scorePassages(
    names.map((name) => passageOf(name, texts[name]!)),
    queryOf(questions),
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

test('words of the question meet the identifier that joins them', () => {
  const texts = {
    'a.ts': 'let lines = 1; print(number of things); lines; number;',
    'b.ts': 'const lineNumber = 1;',
  };
  assert.equal(best(texts, 'How are line numbers made?'), 'b.ts');
});

test('tests, documents and data stand back unless they are asked about', () => {
  const weights = (question: string) =>
    ['src/a.ts', 'src/a.test.ts', 'docs/a.md', 'package.json'].map(
      (p) => kindWeights(queryOf([question]))[pathTraits(p).kinds]!,
    );
  const [code, tests, documents, data] = weights('How does it load?');
  assert.ok(code === 1 && tests! < 1 && documents! < 1 && data! < 1);
  assert.equal(weights('What is tested about loading?')[1], 1);
  assert.equal(weights('Which settings are there?')[3], 1);
});

test('a question of common words scores nothing', () => {
  assert.deepEqual([...scorePassages([passageOf('a', 'what is this')], queryOf(['What is this?']))], [0]);
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

test('a part that goes on with what the one before began says so; a doc comment stays with its function', () => {
  const body = Array.from({ length: 12 }, (_, i) => `  step(${i});`).join('\n');
  const text = `const a = 1;\n\n/** First. */\nfunction first() {\n${body}\n}\n\n/** Second. */\nfunction second() {\n${body}\n}\n`;
  const chunks = chunksOf(text, 130);
  assert.ok(chunks.some((c) => c.continues));
  assert.equal(chunks[0]?.continues, false);
  const second = chunks.find((c) => c.text.includes('function second'));
  assert.match(second?.text ?? '', /^\/\*\* Second/);
  assert.equal(second?.continues, false);
});

test('what a file says of itself counts a little for each of its parts', () => {
  assert.equal(headingOf('/** Orders files. */\nexport const a = 1;\n'), '/** Orders files. */');
  assert.equal(
    headingOf('#!/bin/sh\n# Builds all.\n# Twice.\nmake\n'),
    '#!/bin/sh\n# Builds all.\n# Twice.\n',
  );
  assert.equal(headingOf('"""Reads tokens."""\nimport os\n'), '"""Reads tokens."""');
  assert.equal(headingOf('export const a = 1;\n// Not a heading.\n'), '');
  assert.equal(headingOf(`/*${' license'.repeat(200)} */`), '');
  const query = queryOf(['How are files ordered?']);
  const score = (...passages: ReturnType<typeof passageOf>[]) => [...scorePassages(passages, query)];
  const [own, headed, bare] = score(
    passageOf('x.ts', 'export const first = ordered(files);'),
    passageOf('x.ts', 'export const first = second(third);', '/** Orders files. */'),
    passageOf('x.ts', 'export const first = second(third);'),
  );
  assert.ok(own! > headed! && headed! > bare!);
  assert.equal(bare, 0);
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
