/** ARCHITECTURE.md describes every message of ours; whoever changes one has looked at the description again. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as methods from '../../sidecar/protocol/methods.ts';
import { ROOT } from './import-graph.ts';

const document = readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8');

test('ARCHITECTURE.md names every method with its kind', () => {
  const all = Object.values(methods).filter((m) => typeof m === 'object' && 'method' in m);
  assert.ok(all.length >= 7, 'methods.ts exports its methods');
  for (const { method, kind } of all) {
    assert.match(document, new RegExp(`^\\| \`${method}\` \\| ${kind} \\|`, 'm'));
  }
});

test('the description was looked at since methods.ts last changed', () => {
  const source = readFileSync(path.join(ROOT, 'sidecar/protocol/methods.ts'), 'utf8');
  const digest = createHash('sha256').update(source).digest('hex').slice(0, 12);
  assert.ok(
    document.includes(`methods.ts ${digest}`),
    `methods.ts changed: read "Sidecar protocol" in ARCHITECTURE.md, then write "methods.ts ${digest}" there`,
  );
});
