import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contextTree, type TreeNode } from '../../sidecar/session/context-tree.ts';

const choice = { pinned: ['src/b.ts'], dropped: [] };

test('tokens add up by state from files to the root', async () => {
  const shown = [
    { path: 'src/a.ts', tokens: 100 },
    { path: 'src/b.ts', tokens: 50 },
    { path: 'README.md', tokens: 10, as: 'outline' },
  ];
  const root = await contextTree(shown, [{ path: 'src/x.png', reason: 'binary' }], {
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

test('of many files in a folder the small ones become one', async () => {
  const shown = Array.from({ length: 500 }, (_, i) => ({ path: `f${i}`, tokens: i + 1 }));
  const root = await contextTree(shown, [], { start: 0, cached: 0, choice });
  assert.equal(root.children?.length, 60);
  const rest = root.children?.at(-1);
  assert.deepEqual([rest?.kind, rest?.files, rest?.name], ['rest', 441, '441 more']);
  assert.equal(root.tokens.fresh, (500 * 501) / 2);
});

test('of a very large tree all that is in the window is shown, and only as much of the rest as a person can see', async () => {
  const left = Array.from({ length: 30_000 }, (_, i) => ({
    path: `p${i % 10}/q${i % 500}/r${i % 3000}/f${i}.ts`,
    reason: 'budget' as const,
    tokens: 100,
  }));
  // The smallest of their folders.
  const shown = left.slice(-200).map(({ path }, i) => ({ path: `${path}.shown`, tokens: 1 + (i % 3) }));
  const root = await contextTree(shown, left, { start: 0, cached: 100, choice });
  const nodes = (node: TreeNode): TreeNode[] => [node, ...(node.children ?? []).flatMap(nodes)];
  const all = nodes(root);
  assert.ok(all.length < 12_000, `${all.length} nodes`);
  assert.equal(root.files, 30_200);
  assert.equal(root.tokens['left-out'], 3_000_000);
  const files = new Set(all.filter(({ kind }) => kind === 'file').map(({ path }) => path));
  assert.ok(shown.every(({ path }) => files.has(path)));
  for (const { children, tokens, files } of all) {
    if (!children) continue;
    assert.equal(
      children.reduce((sum, child) => sum + child.tokens['left-out'], 0),
      tokens['left-out'],
    );
    assert.equal(
      children.reduce((sum, child) => sum + child.files, 0),
      files,
    );
  }
  await assert.rejects(
    contextTree(shown, left, { start: 0, cached: 0, choice, signal: AbortSignal.abort() }),
    { name: 'AbortError' },
  );
});
