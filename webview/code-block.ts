/** A block of code: its language, copy, insert at cursor, and the code coloured in the editor's theme. */

import DOMPurify from 'dompurify';
import highlighter from 'highlight.js/lib/common';
import { css, html, LitElement, type PropertyValues } from 'lit';
import { icon } from './icons.ts';
import { send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';

/** Colouring is redone while code streams in; beyond this length it would be felt. */
const MAX_COLOURED_LENGTH = 30_000;
const COPIED_MS = 1_500;

export class GemmaCodeBlock extends LitElement {
  static override properties = {
    code: { type: String },
    language: { type: String },
    copied: { state: true },
  };

  declare code: string;
  declare language: string;
  declare copied: boolean;

  constructor() {
    super();
    this.code = '';
    this.language = '';
    this.copied = false;
  }

  override render() {
    const name = this.language === '' ? 'code' : this.language;
    return html`
      <figure aria-label="Code block, ${name}">
        <figcaption>
          <span class="language">${this.language === '' ? 'text' : this.language}</span>
          <button
            class="icon-button"
            type="button"
            title=${this.copied ? 'Copied' : 'Copy'}
            aria-label="Copy code"
            data-testid="copy-code"
            @click=${this.#copy}
          >
            ${icon(this.copied ? 'check' : 'copy')}
          </button>
          <button
            class="icon-button"
            type="button"
            title="Insert at cursor"
            aria-label="Insert code at cursor"
            data-testid="insert-code"
            @click=${this.#insert}
          >
            ${icon('insert')}
          </button>
        </figcaption>
        <pre tabindex="0"><code></code></pre>
      </figure>
    `;
  }

  override updated(changed: PropertyValues<this>): void {
    if (!changed.has('code') && !changed.has('language')) return;
    this.renderRoot
      .querySelector('code')
      ?.replaceChildren(coloured(this.code.replace(/\n$/, ''), this.language));
  }

  async #copy(): Promise<void> {
    await send({ type: 'copy', text: this.code });
    this.copied = true;
    this.#notice('Copied');
    setTimeout(() => {
      this.copied = false;
    }, COPIED_MS);
  }

  async #insert(): Promise<void> {
    try {
      await send({ type: 'insert', text: this.code });
    } catch (error) {
      this.#notice(error instanceof Error ? error.message : String(error));
    }
  }

  #notice(text: string): void {
    this.dispatchEvent(new CustomEvent('gemma-notice', { detail: text, bubbles: true, composed: true }));
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        margin: 10px 0;
      }

      figure {
        margin: 0;
        border: 1px solid var(--vscode-contrastBorder, var(--vscode-chat-requestBorder, var(--vscode-widget-border)));
        border-radius: 6px;
        background: var(--vscode-textCodeBlock-background);
        overflow: hidden;
      }

      figcaption {
        display: flex;
        align-items: center;
        gap: 2px;
        height: 28px;
        padding: 0 3px 0 10px;
        color: var(--vscode-descriptionForeground);
        font-size: 0.85em;
      }

      .language {
        flex: 1;
      }

      .icon-button {
        opacity: 0.75;
      }

      .icon-button:hover,
      .icon-button:focus-visible {
        opacity: 1;
      }

      pre {
        margin: 0;
        padding: 2px 12px 10px 10px;
        overflow-x: auto;
        color: var(--vscode-editor-foreground);
        font-family: var(--vscode-editor-font-family, monospace);
        font-size: var(--vscode-editor-font-size, 12px);
        line-height: 1.5;
        tab-size: 4;
      }

      pre:focus-visible {
        outline-offset: -2px;
      }

      .hljs-keyword,
      .hljs-literal,
      .hljs-selector-tag,
      .hljs-meta,
      .hljs-doctag {
        color: var(--vscode-debugTokenExpression-name);
      }

      .hljs-string,
      .hljs-regexp,
      .hljs-symbol,
      .hljs-addition {
        color: var(--vscode-debugTokenExpression-string);
      }

      .hljs-number {
        color: var(--vscode-debugTokenExpression-number);
      }

      .hljs-title,
      .hljs-section {
        color: var(--vscode-symbolIcon-functionForeground);
      }

      .hljs-type,
      .hljs-title.class_,
      .hljs-built_in,
      .hljs-name,
      .hljs-selector-class {
        color: var(--vscode-symbolIcon-classForeground);
      }

      .hljs-attr,
      .hljs-attribute,
      .hljs-property,
      .hljs-variable,
      .hljs-template-variable {
        color: var(--vscode-symbolIcon-variableForeground);
      }

      .hljs-comment,
      .hljs-quote {
        color: var(--vscode-descriptionForeground);
        font-style: italic;
      }

      .hljs-deletion {
        color: var(--vscode-errorForeground);
      }

      .hljs-emphasis {
        font-style: italic;
      }

      .hljs-strong {
        font-weight: 600;
      }
    `,
  ];
}

function coloured(code: string, language: string): Node {
  if (code.length > MAX_COLOURED_LENGTH || highlighter.getLanguage(language) === undefined)
    return new Text(code);
  const { value } = highlighter.highlight(code, { language, ignoreIllegals: true });
  return DOMPurify.sanitize(value, {
    ALLOWED_TAGS: ['span'],
    ALLOWED_ATTR: ['class'],
    RETURN_DOM_FRAGMENT: true,
  });
}

declare global {
  interface HTMLElementTagNameMap {
    'gemma-code-block': GemmaCodeBlock;
  }
}

customElements.define('gemma-code-block', GemmaCodeBlock);
