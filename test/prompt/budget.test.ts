import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerReserve, ContextFullError, fitTurns } from '../../sidecar/prompt/budget.ts';

test('the answer gets an eighth of the context, within bounds', () => {
  assert.deepEqual([256, 2048, 8192, 131_072].map(answerReserve), [128, 256, 1024, 4096]);
});

test('the most recent exchanges are kept, whole', () => {
  assert.deepEqual(fitTurns([10, 20, 30], 60), { first: 0, tokens: 60 });
  assert.deepEqual(fitTurns([10, 20, 30], 59), { first: 2, tokens: 30 });
  assert.deepEqual(fitTurns([1, 1, 5, 5, 9], 19), { first: 2, tokens: 19 });
  assert.deepEqual(fitTurns([1, 1, 5, 5, 9], 21), { first: 0, tokens: 21 });
});

test('a question that does not fit is refused with numbers and advice', () => {
  assert.throws(
    () => fitTurns([10, 10, 5000], 1792),
    (error: unknown) =>
      error instanceof ContextFullError &&
      error.needed === 5000 &&
      /The question takes 5,000 tokens, but the model's context leaves room for 1,792\. Shorten/.test(
        error.message,
      ),
  );
});
