import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import { askedFor } from '../../sidecar/context/symbols/asked-for.ts';
import { thingsIn } from '../../sidecar/context/symbols/concepts.ts';
import { importsFile } from '../../sidecar/context/symbols/module-path.ts';
import { parseSymbols } from '../../sidecar/context/symbols/parse.ts';
import { questionKeys } from '../../sidecar/context/symbols/question-keys.ts';
import { indexBlock } from '../../sidecar/prompt/index-block.ts';
import questionFacts from '../fixtures/question-facts.json' with { type: 'json' };
import { temporaryFolder } from '../support/repository.ts';

/** The same program in each language: a documented function over two lines, a type with a method, an import. */
const SAMPLES: Readonly<Record<string, string>> = {
  'a.ts':
    "import { b } from './b.ts';\n\n/** Adds. Well. */\nexport function add(\n  x: number,\n): number {\n  return x;\n}\nexport class Sum {\n  run() {}\n}\n",
  'a.tsx':
    "import { b } from './b.ts';\n\n/** Adds. Well. */\nexport function add(\n  x: number,\n) {\n  return <b />;\n}\nexport class Sum {\n  run() {}\n}\n",
  'a.js':
    "import { b } from './b.js';\n\n// Adds. Well.\nexport function add(\n  x,\n) {\n}\nexport class Sum {\n  run() {}\n}\n",
  'a.py':
    'from b import c\n\ndef add(\n    x):\n    """Adds. Well."""\n\nclass Sum:\n    def run(self): pass\n',
  'a.go':
    'package a\n\nimport "b"\n\n// Adds. Well.\nfunc add(x int,\n\ty int) {}\n\ntype Sum struct{}\n\nfunc (s Sum) run() {}\n',
  'a.rs':
    'use b::c;\n/// Adds. Well.\n#[inline]\npub fn add(\n    x: i32) {}\npub struct Sum;\nimpl Sum {\n    fn run(&self) {}\n}\n',
  'a.c':
    '#include "b.h"\n/* Adds. Well. */\nint add(int x,\n        int y) { return x; }\nstruct Sum { int x; };\nint run(void);\n',
  'a.cpp':
    '#include "b.h"\nnamespace n {\n// Adds. Well.\nint add(int x,\n        int y) { return x; }\nclass Sum { void run(); };\n}\n',
  'A.java':
    'import b.C;\nclass Sum {\n  /** Adds. Well. */\n  @Override\n  int add(int x,\n      int y) { return x; }\n  void run() {}\n}\n',
  'a.cs':
    'using B;\nnamespace N {\n  class Sum {\n    /// <summary>Adds. Well.</summary>\n    int add(int x,\n      int y) => x;\n    void run() {}\n  }\n}\n',
  'a.rb': "require 'b'\n# Adds. Well.\ndef add(x,\n        y)\nend\nclass Sum\n  def run\n  end\nend\n",
  'a.php':
    '<?php\nuse B\\C;\n/** Adds. Well. */\nfunction add($x,\n  $y) {}\nclass Sum {\n  function run() {}\n}\n',
};

for (const [path, text] of Object.entries(SAMPLES)) {
  test(`definitions, comments and imports of ${path.split('.')[1]}`, async () => {
    const { definitions, imports } = await parseSymbols(path, text);
    const named = new Map(definitions.map((d) => [d.name, d]));
    const lines = text.split('\n');
    for (const name of ['add', 'Sum', 'run']) {
      const definition = named.get(name);
      assert.ok(definition, `${name} is found in ${[...named.keys()]}`);
      assert.ok(lines[definition.line - 1]!.includes(name), `${name} is on line ${definition.line}`);
    }
    const add = named.get('add')!;
    assert.equal(add.says, 'Adds.');
    const open = add.text.split('(').length;
    assert.ok(open > 1 && open === add.text.split(')').length, `the parameter list closes: ${add.text}`);
    assert.equal(imports.length, 1);
    assert.equal(imports[0]!.text, lines[imports[0]!.line - 1]!.trim());
  });
}

test('what cannot be parsed has no symbols, and is no error', async () => {
  assert.deepEqual((await parseSymbols('a.md', '# x')).definitions, []);
  assert.deepEqual((await parseSymbols('a.ts', '}}}} \u0000 class {{{')).imports, []);
  await parseSymbols('a.cpp', '('.repeat(20_000));
});

test('a question names code in backticks, words shaped like code, and plain words', () => {
  assert.deepEqual(
    questionKeys(
      'Where is `add()` used by Scheduler.run, src/a.ts:12 and node:fs? Is rms_norm in TypeScript, i.e. fast?',
    ),
    [
      { key: 'add', code: true },
      { key: 'Scheduler.run', code: true },
      { key: 'src/a.ts', code: true },
      { key: 'node:fs', code: true },
      { key: 'rms_norm', code: true },
      { key: 'TypeScript', code: false },
    ],
  );
  const keys = (question: string) => questionKeys(question).map(({ key }) => key);
  assert.deepEqual(keys('Where is add defined, and who imports sub?'), ['add', 'sub']);
  assert.deepEqual(keys('What does the class Sum do, and what the function reduce?'), ['Sum', 'reduce']);
  assert.deepEqual(keys('What arguments does fitTurns take?'), ['fitTurns']);
  assert.deepEqual(keys('How is a running chat cancelled, and kept out of the prompt?'), []);
});

test('what a question names and asks for is what the built-in model learnt to expect', () => {
  assert.ok(questionFacts.length >= 20);
  const facts = (['defined', 'says', 'holds', 'imported'] as const).map((kind) => ({
    key: 'k',
    kind,
    path: 'a.ts',
    line: 1,
    text: 'k',
  }));
  for (const { question, keys, kinds } of questionFacts) {
    assert.deepEqual(questionKeys(question), keys, question);
    assert.deepEqual(
      askedFor(question, facts).map(({ kind }) => kind),
      kinds,
      question,
    );
  }
});

test('imports within functions and by calls are imports too', async () => {
  const modules = async (path: string, text: string) =>
    (await parseSymbols(path, text)).imports.map(({ line, module, names }) => [line, module, names]);
  assert.deepEqual(
    await modules(
      'a.ts',
      "import { a } from './a.ts';\nexport * from './re.ts';\nexport async function load() {\n  const { b, c: d } = await import('./b.ts');\n" +
        "  const e = require('./e.js');\n  return () => import('./lazy.ts');\n}\nconst no = imported('./no.ts');\nimport(variable);\n",
    ),
    [
      [1, './a.ts', ['a']],
      [2, './re.ts', []],
      [4, './b.ts', ['b', 'c', 'd']],
      [5, './e.js', ['e']],
      [6, './lazy.ts', []],
    ],
  );
  assert.deepEqual(
    await modules('a.py', 'import os\n\ndef late():\n    from pkg.b import c\n    return c\n'),
    [
      [1, 'os', ['os']],
      [4, 'pkg.b', ['pkg', 'b', 'c']],
    ],
  );
});

test('a thing that a question speaks of in plain words is found as the type that code defines', async () => {
  assert.deepEqual(thingsIn('What does the page pool do?'), [['PagePool', 'Page']]);
  assert.deepEqual(thingsIn('Who imports the KV cache, and where is the file?'), [
    ['KVCache', 'KvCache', 'KV', 'Kv'],
  ]);
  assert.deepEqual(thingsIn('How is it done?'), []);
  const folder = temporaryFolder({
    'src/pool.ts': '/** Pages to give. */\nexport class PagePool {}\nexport const page = 1;\n',
    'src/use.ts': "import { PagePool } from './pool.ts';\nnew PagePool();\n",
  });
  const context = new RepositoryContext([{ folder, label: null }]);
  const snapshot = await context.read({ unsaved: [], onProgress: () => {} });
  const facts = async (question: string) => indexBlock(await context.facts(question, snapshot));
  assert.equal(
    await facts('Where is the page pool?'),
    'Index:\n`PagePool` is defined in src/pool.ts:2| export class PagePool {}\n`PagePool` says src/pool.ts:2| Pages to give.',
  );
  assert.equal(
    await facts('Who imports the page pool?'),
    "Index:\n`PagePool` is imported in src/use.ts:1| import { PagePool } from './pool.ts';",
  );
  assert.equal(await facts('Where is the swimming pool?'), '');
  assert.doesNotMatch(
    await facts('Is `page` beside the page pool?'),
    /PagePool` is/,
    'a name that is known is enough',
  );
});

test('imports meet the files they name', () => {
  assert.ok(importsFile('src/b.ts', './a.ts', 'src/a.ts'));
  assert.ok(importsFile('src/x/b.ts', '../a', 'src/a.ts'));
  assert.ok(importsFile('src/b.ts', './a', 'src/a/index.ts'));
  assert.ok(importsFile('b.py', 'pkg.a', 'src/pkg/a.py'));
  assert.ok(importsFile('b.cc', 'kernels/a.h', 'src/kernels/a.h'));
  assert.ok(!importsFile('src/b.ts', './a.ts', 'lib/a.ts'));
  assert.ok(!importsFile('src/b.ts', 'a', 'src/a.ts'));
});

test('facts of a question about a real folder', async () => {
  const folder = temporaryFolder({
    'src/a.ts':
      '/** Adds two numbers. Slowly. */\nexport function add(a: number, b: number): number {\n  return a + b;\n}\n\nexport class Sum {}\n',
    'src/b.ts':
      "import { add } from './a.ts';\nimport fs from 'node:fs';\nconst local = (parameter: number) => add(parameter, 1);\n",
  });
  const context = new RepositoryContext([{ folder, label: null }]);
  const facts = async (question: string) =>
    indexBlock(await context.facts(question, await context.read({ unsaved: [], onProgress: () => {} })));
  assert.equal(
    await facts('Where is `add`, who imports `node:fs`, what is in `src/a.ts`, and `gone`?'),
    [
      'Index:',
      '`add` is defined in src/a.ts:2| export function add(a: number, b: number): number {',
      '`add` says src/a.ts:2| Adds two numbers.',
      "`add` is imported in src/b.ts:1| import { add } from './a.ts';",
      "`node:fs` is imported in src/b.ts:2| import fs from 'node:fs';",
      '`src/a.ts` holds src/a.ts:2| export function add(a: number, b: number): number {',
      '6| export class Sum {}',
      "`src/a.ts` is imported in src/b.ts:1| import { add } from './a.ts';",
      '`gone` nowhere',
    ].join('\n'),
  );
  assert.equal(await facts('What does add do?'), await facts('`add`'), 'a plain word that is a symbol');
  const kinds = async (question: string) =>
    (await facts(question)).split('\n').flatMap((line) => /^`[^`]+` (?:is )?(\w+)/.exec(line)?.[1] ?? []);
  assert.deepEqual(await kinds('What does `add` take?'), ['defined', 'says']);
  assert.deepEqual(
    await kinds('What does `src/a.ts` hold?'),
    ['holds'],
    'lines after the first say no more than the line',
  );
  assert.deepEqual(await kinds('Who imports `add`?'), ['imported']);
  assert.deepEqual(await kinds('Where is `src/a.ts` imported?'), ['imported']);
  assert.deepEqual(await kinds('Where is `add` used?'), ['defined', 'says', 'imported']);
  assert.deepEqual(await kinds('Where is `node:fs`?'), ['imported'], 'what there is, where that is all');
  assert.equal(
    await facts('What about numbers and `parameter`?'),
    '',
    'a name that occurs is not called nowhere',
  );
});

test('unsaved text is what the index knows', async () => {
  const context = new RepositoryContext([{ folder: temporaryFolder({ 'a.ts': 'let x;\n' }), label: null }]);
  const unsaved = [{ path: 'a.ts', text: '\nexport const brandNew = 1;\n' }];
  const facts = await context.facts('`brandNew`?', await context.read({ unsaved, onProgress: () => {} }));
  assert.deepEqual(facts, [
    { key: 'brandNew', kind: 'defined', path: 'a.ts', line: 2, text: 'export const brandNew = 1;' },
  ]);
});
