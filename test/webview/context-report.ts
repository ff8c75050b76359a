/** A report of a small shop, with every state in it. */

import type { ContextNode, ContextReport, ContextState } from '../../sidecar/protocol/context-types.ts';

function tokens(some: Partial<Record<ContextState, number>>): Record<ContextState, number> {
  return { cached: 0, fresh: 0, outlined: 0, 'left-out': 0, ...some };
}

function file(
  path: string,
  some: Partial<Record<ContextState, number>>,
  more: Partial<ContextNode> = {},
): ContextNode {
  return {
    kind: 'file',
    name: path.slice(path.lastIndexOf('/') + 1),
    path,
    tokens: tokens(some),
    files: 1,
    ...more,
  };
}

function folder(path: string, children: readonly ContextNode[]): ContextNode {
  const sum = tokens({});
  for (const child of children)
    for (const state of ['cached', 'fresh', 'outlined', 'left-out'] as const)
      sum[state] += child.tokens[state];
  const files = children.reduce((count, child) => count + child.files, 0);
  return { kind: 'folder', name: path.slice(path.lastIndexOf('/') + 1), path, tokens: sum, files, children };
}

export const ROOT = folder('', [
  folder('src', [
    folder('src/cart', [
      file('src/cart/cart.ts', { cached: 2400 }),
      file('src/cart/items.ts', { cached: 1500 }),
      file('src/cart/discount.ts', { fresh: 900 }),
    ]),
    folder('src/price', [
      file('src/price/price.ts', { cached: 1800, 'left-out': 600 }, { reason: 'budget' }),
      file('src/price/tax.ts', { outlined: 300 }),
    ]),
    file('src/index.ts', { cached: 400 }, { pinned: true }),
  ]),
  folder('test', [
    file('test/cart.test.ts', { outlined: 1100 }),
    file('test/price.test.ts', { 'left-out': 1300 }, { reason: 'budget' }),
    { kind: 'rest', name: '', path: 'test', tokens: tokens({ cached: 240 }), files: 7 },
  ]),
  file('README.md', { cached: 700 }),
  file('package-lock.json', { 'left-out': 2600 }, { reason: 'lock-file' }),
]);

export const REPORT: ContextReport = {
  contextLength: 16_384,
  reserved: 1024,
  tokens: { head: 7900, outlines: 1400, journal: 120 },
  cachedInMemory: 7000,
  cachedOnDisk: 1300,
  root: ROOT,
  journal: [{ path: 'src/cart/discount.ts', change: 'edited', tokens: 120 }],
  kv: {
    used: [
      { kind: 'f16', bytes: 210 * 2 ** 20 },
      { kind: 'int8', bytes: 96 * 2 ** 20 },
      { kind: 'local', bytes: 40 * 2 ** 20 },
    ],
    reserved: 480 * 2 ** 20,
  },
  disk: { bytes: 1.4 * 2 ** 30, limit: 8 * 2 ** 30 },
  readingAhead: { done: 1300, total: 2400 },
  notes: [],
};
