import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isInside, relativeSegments } from '../../extension/workspace-path.ts';

describe('a path that a model wrote', () => {
  it('is followed when it stays inside', () => {
    assert.deepEqual(relativeSegments('src/a.ts'), ['src', 'a.ts']);
    assert.deepEqual(relativeSegments('./src//a.ts'), ['src', 'a.ts']);
    assert.deepEqual(relativeSegments('src\\a.ts'), ['src', 'a.ts']);
    assert.deepEqual(relativeSegments('src/..hidden/a'), ['src', '..hidden', 'a']);
  });

  for (const path of [
    '/etc/passwd',
    '../a.ts',
    'src/../../a.ts',
    'src\\..\\..\\a.ts',
    'C:\\Windows\\a.ts',
    '\\\\server\\share',
    'file:///etc/passwd',
    'vscode://x',
    '',
    '.',
    'a\0b',
    'a\nb',
    `${'a/'.repeat(3000)}b`,
  ]) {
    it(`is refused: ${JSON.stringify(path.slice(0, 30))}`, () => {
      assert.equal(relativeSegments(path), null);
    });
  }

  it('is compared by whole names', () => {
    assert.ok(isInside('/w', '/w/a', '/'));
    assert.ok(isInside('/', '/w/a', '/'));
    assert.ok(!isInside('/w', '/work/a', '/'));
  });
});
