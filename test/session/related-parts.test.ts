import assert from 'node:assert/strict';
import { test } from 'node:test';
import { relatedParts } from '../../sidecar/session/related-parts.ts';

const documents = [
  { path: 'a.ts', text: 'export function parseHeader(text: string) {\n  return text;\n}\n' },
  { path: 'b.ts', text: 'export const colour = "red";\n' },
];

test('the part that defines what is being used comes along, and stays while a paragraph is typed', () => {
  const head = "import { parseHeader } from './a.ts';\n\n";
  const parts = relatedParts(`${head}const header = pars`, documents);
  assert.deepEqual(
    parts.map(({ path, lines }) => [path, lines?.first]),
    [['a.ts', 1]],
  );
  assert.deepEqual(relatedParts(`${head}const colour = parse`, documents), parts);
});

test('nothing comes along when nothing is related', () => {
  assert.deepEqual(relatedParts('let x = 1;\n\nlet y', documents), []);
  assert.deepEqual(relatedParts('parseHeader', documents), []);
});
