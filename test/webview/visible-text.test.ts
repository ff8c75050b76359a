import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { visibleText } from '../../webview/visible-text.ts';

describe('the text of a model', () => {
  it('shows what would hide in it', () => {
    assert.equal(visibleText('if (a\u202e) \u2066//'), 'if (a⟨U+202E⟩) ⟨U+2066⟩//');
    assert.equal(visibleText('a\u200bb\u0000c\u{e0041}'), 'a⟨U+200B⟩b⟨U+0000⟩c⟨U+E0041⟩');
  });

  it('stays as it is otherwise, in every script', () => {
    const text = 'tab\tline\nélan 日本語 עברית العربية 👩‍👩‍👧 नमस्ते';
    assert.equal(visibleText(text), text);
    assert.equal(visibleText('a\r\nb\rc'), 'a\nb\nc');
  });
});
