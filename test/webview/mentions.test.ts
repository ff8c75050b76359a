import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { insertMention, matchedParts, mentionAt, withoutMention } from '../../webview/mentions.ts';

describe('a mention', () => {
  it('begins with an @ at the start of a word, and ends at the cursor', () => {
    assert.deepEqual(mentionAt('see @src/ca', 11), { start: 4, end: 11, query: 'src/ca' });
    assert.deepEqual(mentionAt('@', 1), { start: 0, end: 1, query: '' });
    assert.deepEqual(mentionAt('see @src/ca and', 8), { start: 4, end: 8, query: 'src' });
    assert.deepEqual(mentionAt('(@"my fi', 8), { start: 1, end: 8, query: 'my fi' });
    for (const text of ['mail a@b', 'see @src ', 'x', '', '@"a b" '])
      assert.equal(mentionAt(text, text.length), null, text);
  });

  it('takes the place of what was typed; a folder can be typed on into', () => {
    const target = { start: 4, end: 7, query: 'ca' };
    const file = { kind: 'file', insert: '@src/cart.ts', label: 'src/cart.ts', matches: [] } as const;
    assert.deepEqual(insertMention('see @ca', target, file), { draft: 'see @src/cart.ts ', cursor: 17 });
    assert.deepEqual(insertMention('see @ca?', target, file), { draft: 'see @src/cart.ts ?', cursor: 17 });
    const folder = { kind: 'folder', insert: '@src/', label: 'src/', matches: [] } as const;
    assert.deepEqual(insertMention('see @ca', target, folder), { draft: 'see @src/', cursor: 9 });
  });

  it('can be taken out of the text again, however it was spelled', () => {
    assert.equal(withoutMention('see @src/a.ts and b', 'src/a.ts'), 'see and b');
    assert.equal(withoutMention('see @"my a.ts" and b', 'my a.ts'), 'see and b');
    assert.equal(withoutMention('see @diff', '@diff'), 'see');
    assert.equal(withoutMention('see nothing', 'src/a.ts'), 'see nothing');
  });

  it('shows which letters matched', () => {
    assert.deepEqual(matchedParts('cart.ts', [0, 1, 5]), [
      { text: 'ca', matched: true },
      { text: 'rt.', matched: false },
      { text: 't', matched: true },
      { text: 's', matched: false },
    ]);
  });
});
