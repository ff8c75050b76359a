/** The suffix automaton against the definition, by brute force. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SuffixAutomaton } from '../../sidecar/engine/speculation/suffix-automaton.ts';
import { seededRandom } from '../support/random.ts';

/** The longest run at the end of `ids` that also ends somewhere before. */
function longestRepetition(ids: readonly number[]): number {
  for (let length = ids.length - 1; length > 0; length--) {
    for (let end = length - 1; end < ids.length - 1; end++) {
      if (endsAt(ids, end, length)) return length;
    }
  }
  return 0;
}

function endsAt(ids: readonly number[], end: number, length: number): boolean {
  if (length > end + 1) return false;
  for (let i = 0; i < length; i++) if (ids[end - i] !== ids[ids.length - 1 - i]) return false;
  return true;
}

for (const [name, alphabet, length] of [
  ['two tokens', 2, 120],
  ['few tokens', 5, 200],
  ['large ids', 262_144, 60],
] as const) {
  test(`after every token the longest repetition and a place of it are right: ${name}`, () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = seededRandom(seed);
      const automaton = new SuffixAutomaton();
      const ids: number[] = [];
      for (let i = 0; i < length; i++) {
        // Runs that stood before, with changes, as in edited text.
        const copied = ids.length > 10 && random() < 0.6 ? ids[ids.length - 7]! : undefined;
        ids.push(copied ?? Math.floor(random() * alphabet));
        automaton.append(ids.at(-1)!);
        const { length: found, end } = automaton.repetition;
        assert.equal(found, longestRepetition(ids), `seed ${seed}, token ${i}`);
        if (found > 0)
          assert.ok(end < i && endsAt(ids, end, found), `seed ${seed}, token ${i}: place ${end}`);
      }
      assert.deepEqual([...automaton.ids], ids);
    }
  });
}

test('a long text grows the tables: the place of a unique passage is found again', () => {
  const random = seededRandom(9);
  const automaton = new SuffixAutomaton();
  const ids = Array.from({ length: 30_000 }, () => Math.floor(random() * 4096));
  for (const id of ids) automaton.append(id);
  for (const id of ids.slice(12_345, 12_395)) automaton.append(id);
  assert.deepEqual(automaton.repetition, { length: 50, end: 12_394 });
});
