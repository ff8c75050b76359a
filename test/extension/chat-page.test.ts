import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { contentSecurityPolicy, webviewPage } from '../../extension/chat-page.ts';

describe('the chat page', () => {
  it('has exactly this policy; a change to it needs a review', () => {
    assert.equal(
      contentSecurityPolicy('https://assets', 'N0nce'),
      "default-src 'none'; script-src 'nonce-N0nce'; style-src https://assets; font-src https://assets; " +
        "img-src https://assets blob:; connect-src 'none'; form-action 'none'; base-uri 'none'",
    );
  });

  it('runs one script, by nonce, and has no inline script or style', () => {
    const html = webviewPage({
      element: 'gemma-chat',
      scriptUri: 'https://assets/main.js',
      styleUri: 'https://assets/page.css',
      codiconUri: 'https://assets/codicon.css',
      cspSource: 'https://assets',
      nonce: 'N0nce',
      language: 'en',
    });
    assert.deepEqual(html.match(/<script[^>]*>/g), [
      '<script type="module" nonce="N0nce" src="https://assets/main.js">',
    ]);
    assert.doesNotMatch(html, /<style|style=|\son\w+=/);
  });
});
