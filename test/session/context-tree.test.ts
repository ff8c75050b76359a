import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contextTree } from '../../sidecar/session/context-tree.ts';

const choice = { pinned: ['src/b.ts'], dropped: [] };

test('tokens add up by state from files to the root', () => {
  const shown = [
    { path: 'src/a.ts', tokens: 100 },
    { path: 'src/b.ts', tokens: 50 },
    { path: 'README.md', tokens: 10, as: 'outline' },
  ];
  const root = contextTree(shown, [{ path: 'src/x.png', reason: 'binary' }], {
    start: 20,
    cached: 140,
    choice,
  });
  assert.deepEqual(root.tokens, { cached: 120, fresh: 30, outlined: 10, 'left-out': 0 });
  assert.equal(root.files, 4);
  const src = root.children?.find(({ name }) => name === 'src');
  assert.deepEqual(
    src?.children?.map(({ path, tokens, pinned, reason }) => [
      path,
      tokens.cached,
      tokens.fresh,
      pinned,
      reason,
    ]),
    [
      ['src/a.ts', 100, 0, undefined, undefined],
      ['src/b.ts', 20, 30, true, undefined],
      ['src/x.png', 0, 0, undefined, 'binary'],
    ],
  );
});

test('of many files in a folder the small ones become one', () => {
  const shown = Array.from({ length: 500 }, (_, i) => ({ path: `f${i}`, tokens: i + 1 }));
  const root = contextTree(shown, [], { start: 0, cached: 0, choice });
  assert.equal(root.children?.length, 60);
  const rest = root.children?.at(-1);
  assert.deepEqual([rest?.kind, rest?.files, rest?.name], ['rest', 441, '441 more']);
  assert.equal(root.tokens.fresh, (500 * 501) / 2);
});
