import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Citation, splitCitations } from '../../webview/citations.ts';

function citations(text: string): Citation[] {
  const pieces = splitCitations(text);
  assert.equal(pieces.map((piece) => piece.text).join(''), text, 'the pieces must be the text');
  return pieces.flatMap((piece) => piece.citation ?? []);
}

describe('citations in an answer', () => {
  it('are found in running text', () => {
    assert.deepEqual(citations('`add` is defined in src/a.ts:1. See (lib/b_test.py:20-31), too.'), [
      { path: 'src/a.ts', line: 1 },
      { path: 'lib/b_test.py', line: 20, endLine: 31 },
    ]);
  });

  it('take every common form of a place', () => {
    assert.deepEqual(citations('main.c:7 src/x.rs#L3-L9 Makefile:12 bin/run:4 go.mod, line 5'), [
      { path: 'main.c', line: 7 },
      { path: 'src/x.rs', line: 3, endLine: 9 },
      { path: 'Makefile', line: 12 },
      { path: 'bin/run', line: 4 },
      { path: 'go.mod', line: 5 },
    ]);
  });

  it('keep brackets that belong to the path and leave those around it', () => {
    assert.deepEqual(citations('(app/(shop)/[id]/page.tsx:8) and [docs/a.md:2]'), [
      { path: 'app/(shop)/[id]/page.tsx', line: 8 },
      { path: 'docs/a.md', line: 2 },
    ]);
  });

  it('are not addresses, times or ratios', () => {
    const text =
      'http://localhost:8080 127.0.0.1:80 at 10:30, 3:1, https://a.dev/x.ts:5 user@host.com:22 v1.2:3';
    assert.deepEqual(citations(text), []);
  });

  it('stay fast on a long line of near misses', () => {
    assert.deepEqual(citations('a/'.repeat(20_000)), []);
    assert.deepEqual(citations('(a'.repeat(20_000)), []);
  });
});
