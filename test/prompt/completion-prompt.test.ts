import assert from 'node:assert/strict';
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
