import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CompletionSession } from '../../sidecar/session/completion-session.ts';
import { ModelHost } from '../../sidecar/session/model-host.ts';
import { trimCompletion } from '../../sidecar/session/trim-completion.ts';
import { type Script, scriptedEngine } from '../support/scripted-engine.ts';

const trim = (raw: string, prefix: string, suffix = '') => trimCompletion(raw, prefix, suffix).text;

test('after code on the line, only the rest of the line', () => {
  assert.equal(trim(' a + b;\n}\nmore', 'x\n  return'), ' a + b;');
});

test('a line that opens a block gets the block', () => {
  assert.equal(trim('\n  return a;\n}\n\nfunction next', 'function f(a) {'), '\n  return a;\n}');
  assert.equal(trim('\n    return a\n\ndef g():', 'def f(a):'), '\n    return a');
});

test('an empty line gets lines until the indentation falls below its own', () => {
  assert.equal(trim('  a();\n    b();\n}\nafter', 'if (x) {\n    '), '  a();\n    b();');
});

test('what stands after the cursor is not repeated', () => {
  assert.equal(trim('a, b)', 'call(', ')'), 'a, b');
  assert.equal(trim('a, b);', 'call(', ');\nnext'), 'a, b');
});

test('lines that already stand next in the file are not written again', () => {
  const suffix = '\n  return total;\n}\n';
  assert.equal(trim('  total += 1;\n  return total;\n}\n', 'f() {\n  ', suffix), '  total += 1;');
  assert.equal(trim('  a();\n  b();\n', 'f() {\n  ', suffix), '  a();\n  b();');
});

test('between brackets that the editor closed, the lines of the block without its end', () => {
  assert.equal(trim('\n  return a;\n}\n\nmore', 'function f(a) {', '}\n'), '\n  return a;\n');
  assert.equal(trim('\n    a: 1,\n  };\n  next', '  const o = {', '};'), '\n    a: 1,\n  ');
  assert.equal(trim('\n  a,\n  b', 'call(', ')'), '\n  a,\n  b\n');
  assert.equal(trim(' a: 1 }\nnext', 'const o = {', '}'), ' a: 1 ');
  assert.equal(trim('\n\n', 'const o = {', '}'), '');
  assert.equal(trimCompletion('\n  a', 'f({', '})').complete, false);
  assert.equal(trimCompletion('\n  a\n}', 'f({', '})').complete, true);
});

test('a block that comes token by token is not over at its first line feed', () => {
  const raw = '\n    return a\n\ndef g():';
  const shown = [...raw].map((_, i) => trimCompletion(raw.slice(0, i + 1), 'def f(a):', ''));
  const over = shown.findIndex(({ complete }) => complete);
  assert.equal(raw.slice(0, over + 1), '\n    return a\n\n');
  assert.equal(shown[over]!.text, '\n    return a');
});

test('generation can stop once nothing more would be shown', () => {
  assert.equal(trimCompletion(' a + b;', 'return', '').complete, false);
  assert.equal(trimCompletion(' a + b;\n', 'return', '').complete, true);
});

async function session(script: Script) {
  const host = new ModelHost(async () => scriptedEngine(script));
  await host.select('m', {});
  return { host, session: new CompletionSession(host) };
}
const never = new AbortController().signal;

test('a later keystroke overtakes an earlier one', async () => {
  let asked = 0;
  const { session: s } = await session({
    answer: () => {
      asked++;
      return ' 1;\n';
    },
  });
  const first = s.complete({ prefix: 'return', suffix: '' }, never);
  const second = s.complete({ prefix: 'return ', suffix: '' }, never);
  assert.equal(await first, '');
  assert.equal(await second, ' 1;');
  assert.equal(asked, 1);
});

test('a result is remembered, also while its first characters are typed', async () => {
  let asked = 0;
  const { session: s } = await session({
    answer: () => {
      asked++;
      return ' value;\n';
    },
  });
  assert.equal(await s.complete({ prefix: 'return', suffix: '' }, never), ' value;');
  assert.equal(await s.complete({ prefix: 'return', suffix: '' }, never), ' value;');
  assert.equal(await s.complete({ prefix: 'return va', suffix: '' }, never), 'lue;');
  assert.equal(asked, 1);
});

test('nothing is suggested where the model goes round in circles', async () => {
  const { session: s } = await session({ answer: () => `\n  x(${'a('.repeat(40)}` });
  assert.equal(await s.complete({ prefix: 'f(() => {', suffix: '' }, never), '');
});

test('a line that the limit on tokens cut is left out, the lines before it are not', async () => {
  const long = Array.from({ length: 120 }, (_, i) => String.fromCharCode(0x21 + ((i * 37) % 90))).join('');
  const { session: s } = await session({ answer: () => `\n  first();\n  ${long}` });
  assert.equal(await s.complete({ prefix: 'f(() => {', suffix: '' }, never), '\n  first();');
  const { session: one } = await session({ answer: () => long });
  assert.equal(await one.complete({ prefix: 'return ', suffix: '' }, never), '');
});

test('nothing is suggested while there is no model', async () => {
  const s = new CompletionSession(new ModelHost(() => Promise.reject(new Error('no'))));
  assert.equal(await s.complete({ prefix: 'x', suffix: '' }, never), '');
});
