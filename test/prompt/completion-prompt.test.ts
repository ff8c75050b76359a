import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { completionPrompt } from '../../sidecar/prompt/completion-prompt.ts';
import { ByteTokenizer } from '../support/scripted-engine.ts';

class FimTokenizer extends ByteTokenizer {
  override readonly special = {
    ...new ByteTokenizer().special,
    fim: { prefix: 262, suffix: 263, middle: 264 },
  };
}

test('with FIM pieces the model sees both sides of the cursor', () => {
  const tokenizer = new FimTokenizer();
  const prompt = completionPrompt(tokenizer, 'ab', 'cd', 100);
  assert.deepEqual([...prompt.ids], [256, 262, 97, 98, 263, 99, 100, 264]);
  assert.ok(prompt.seesSuffix);
  assert.ok(prompt.stopIds.includes(262));
});

test('without them, only what precedes it', () => {
  const prompt = completionPrompt(new ByteTokenizer(), 'ab', 'cd', 100);
  assert.deepEqual([...prompt.ids], [256, 97, 98]);
  assert.equal(prompt.seesSuffix, false);
});

test('far text is cut on whole lines and the budget holds', () => {
  const prefix = Array.from({ length: 500 }, (_, i) => `line ${i}\n`).join('');
  const suffix = Array.from({ length: 500 }, (_, i) => `after ${i}\n`).join('');
  for (const budget of [8, 40, 200, 1000]) {
    for (const tokenizer of [new FimTokenizer(), new ByteTokenizer()]) {
      const { ids } = completionPrompt(tokenizer, prefix, suffix, budget);
      assert.ok(ids.length <= budget, `${ids.length} > ${budget}`);
    }
  }
  const { ids } = completionPrompt(new ByteTokenizer(), prefix, '', 40);
  assert.match(new ByteTokenizer().decode(ids), /^<bos>line \d+\n(line \d+\n)*line 499\n$/);
});

interface FormCase {
  readonly name: string;
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly prefix: string;
  readonly suffix: string;
  readonly prompt: string;
}

test('the form is the one the built-in model was trained on', () => {
  const file = new URL('../fixtures/prompt-form.json', import.meta.url);
  const { complete } = JSON.parse(readFileSync(file, 'utf8')) as { readonly complete: readonly FormCase[] };
  assert.ok(complete.length >= 2);
  const pieces = new Map([
    [256, '<bos>'],
    [262, '<|fim_prefix|>'],
    [263, '<|fim_suffix|>'],
    [264, '<|fim_middle|>'],
  ]);
  for (const { name, files, prefix, suffix, prompt } of complete) {
    const { ids } = completionPrompt(new FimTokenizer(), prefix, suffix, 4096, files);
    assert.equal(Array.from(ids, (id) => pieces.get(id) ?? String.fromCharCode(id)).join(''), prompt, name);
  }
});

test('parts of other files take at most a quarter, best first, and none where they could not be told apart', () => {
  const files = ['near', 'far'].map((path) => ({ path, text: 'x'.repeat(60) }));
  const text = new FimTokenizer().decode(completionPrompt(new FimTokenizer(), 'ab', 'cd', 400, files).ids);
  assert.ok(text.includes('=== near') && !text.includes('=== far'));
  const plain = completionPrompt(new ByteTokenizer(), 'ab', 'cd', 400, files);
  assert.deepEqual([...plain.ids], [256, 97, 98]);
});
