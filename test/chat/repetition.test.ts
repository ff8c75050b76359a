import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RepetitionWatch } from '../../sidecar/chat/repetition.ts';

/** How many ids the watch takes before it speaks up; null if it never does. */
function stoppedAfter(ids: Iterable<number>, leastTokens?: number): number | null {
  const watch = new RepetitionWatch(leastTokens);
  let taken = 0;
  for (const id of ids) {
    taken++;
    if (watch.push(id)) return taken;
  }
  return null;
}

const repeat = (ids: readonly number[], rounds: number) => Array.from({ length: rounds }, () => ids).flat();
const counting = (length: number) => Array.from({ length }, (_, i) => 1000 + i);

test('a loop of any period is stopped after four rounds and 96 repeated tokens at most', () => {
  assert.equal(stoppedAfter(repeat([7], 500)), 97);
  assert.equal(stoppedAfter(repeat([7, 8], 500)), 98);
  assert.equal(stoppedAfter(repeat(counting(60), 20)), 60 + 4 * 60);
});

test('where less is enough, a loop is stopped sooner, but not before four rounds', () => {
  assert.equal(stoppedAfter(repeat([7, 8], 500), 24), 26);
  assert.equal(stoppedAfter(repeat(counting(10), 20), 24), 50);
});

test('a loop is found after an honest beginning', () => {
  assert.equal(stoppedAfter([...counting(300), ...repeat([1, 2, 3], 100)]), 300 + 3 + 96);
});

test('text that only looks repetitive goes on', () => {
  assert.equal(stoppedAfter(counting(5000)), null);
  const rows = Array.from({ length: 200 }, (_, i) => [1, 2, 3, 100 + i, 4, 5]).flat();
  assert.equal(stoppedAfter(rows), null, 'a table whose rows differ in one cell');
  assert.equal(stoppedAfter(repeat([9], 90)), null, 'a line of dashes');
});
