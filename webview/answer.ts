/** One answer: its blocks as they stream in, how it ended, and what can be done with it. */

import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import './code-block.ts';
import './failure-card.ts';
import './prose-block.ts';
import { icon } from './icons.ts';
import { type Block, BlockStream } from './markdown-blocks.ts';
import { send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import type { AnswerSpeed, ModelMessage } from './state.ts';
import { visibleText } from './visible-text.ts';
import { count, counted } from './wording.ts';

export class GemmaAnswer extends LitElement {
  static override properties = {
    message: { attribute: false },
    last: { type: Boolean },
    copied: { state: true },
  };

  declare message: ModelMessage;
  /** Only the last answer can be asked for again. */
  declare last: boolean;
  declare copied: boolean;
  readonly #blocks = new BlockStream();

  constructor() {
    super();
    this.last = false;
    this.copied = false;
  }

  override render() {
    const { text, end, failure, notes = [], citedPaths } = this.message;
    return html`
      <div class="prose" ?data-streaming=${end === 'streaming' && text !== ''}>
        ${this.#blocks.update(visibleText(text)).map((block) => drawBlock(block, citedPaths))}
      </div>
      ${endNote(this.message)} ${notes.map((note) => html`<p class="note quiet">${note}</p>`)}
      ${failure === undefined ? nothing : html`<gemma-failure-card .failure=${failure}></gemma-failure-card>`}
      ${end === 'streaming' ? nothing : this.#footer()}
    `;
  }

  #footer(): TemplateResult | typeof nothing {
    const { text, speed, failure } = this.message;
    if (text === '' && (failure !== undefined || !this.last)) return nothing;
    return html`
      <footer>
        ${
          text === ''
            ? nothing
            : html`<button
                class="icon-button"
                type="button"
                title=${this.copied ? 'Copied' : 'Copy answer'}
                aria-label="Copy answer"
                data-testid="copy-answer"
                @click=${this.#copy}
              >
                ${icon(this.copied ? 'check' : 'copy')}
              </button>`
        }
        ${
          this.last && failure === undefined
            ? html`<button
                class="icon-button"
                type="button"
                title="Answer again"
                aria-label="Answer again"
                data-testid="regenerate"
                @click=${() => void send({ type: 'regenerate' }).catch(() => {})}
              >
                ${icon('refresh')}
              </button>`
            : nothing
        }
        ${speed === undefined ? nothing : html`<span class="speed quiet" title=${speedDetail(speed)}>${speedLine(speed)}</span>`}
      </footer>
    `;
  }

  async #copy(): Promise<void> {
    await send({ type: 'copy', text: this.message.text });
    this.copied = true;
    this.dispatchEvent(new CustomEvent('gemma-notice', { detail: 'Copied', bubbles: true, composed: true }));
    setTimeout(() => {
      this.copied = false;
    }, 1_500);
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        line-height: 1.55;
      }

      .prose > gemma-prose {
        display: block;
        overflow-wrap: anywhere;
      }

      p,
      ul,
      ol,
      blockquote,
      .table-frame {
        margin: 0 0 10px;
      }

      .prose > :last-child > :last-child {
        margin-bottom: 0;
      }

      h1,
      h2,
      h3,
      h4,
      h5,
      h6 {
        margin: 16px 0 6px;
        font-size: 1.05em;
        font-weight: 600;
        line-height: 1.3;
      }

      h1 {
        font-size: 1.25em;
      }

      h2 {
        font-size: 1.15em;
      }

      .prose > :first-child > :first-child {
        margin-top: 0;
      }

      ul,
      ol {
        padding-inline-start: 22px;
      }

      li {
        margin: 3px 0;
      }

      li > p {
        margin: 0 0 4px;
      }

      code {
        padding: 1px 4px;
        border-radius: 4px;
        background: var(--vscode-textPreformat-background, var(--vscode-textCodeBlock-background));
        color: var(--vscode-textPreformat-foreground);
        font-family: var(--vscode-editor-font-family, monospace);
        font-size: 0.92em;
      }

      blockquote {
        padding: 2px 12px;
        border-inline-start: 3px solid var(--vscode-textBlockQuote-border);
        color: var(--vscode-descriptionForeground);
      }

      blockquote > :last-child {
        margin-bottom: 0;
      }

      hr {
        margin: 14px 0;
        border: none;
        border-top: 1px solid var(--vscode-widget-border, var(--vscode-contrastBorder));
      }

      .table-frame {
        overflow-x: auto;
      }

      table {
        border-collapse: collapse;
      }

      th,
      td {
        padding: 4px 10px;
        border: 1px solid var(--vscode-widget-border, var(--vscode-contrastBorder));
        text-align: start;
        vertical-align: top;
      }

      th {
        font-weight: 600;
      }

      code .citation {
        font-family: inherit;
      }

      /* There the ground of code is as dark as a link. */
      :host-context(body.vscode-high-contrast-light) code .citation {
        color: inherit;
        text-decoration: underline;
      }

      .prose[data-streaming] > gemma-prose:last-child > p:last-child::after,
      .prose[data-streaming] > gemma-prose:last-child > * > li:last-child:not(:has(> p, > ul, > ol))::after,
      .prose[data-streaming] > gemma-prose:last-child > * > li:last-child > p:last-child::after {
        content: '';
        display: inline-block;
        width: 7px;
        height: 1em;
        margin-inline-start: 3px;
        border-radius: 1px;
        background: var(--vscode-foreground);
        opacity: 0.7;
        vertical-align: text-bottom;
        animation: blink 1s steps(2, jump-none) infinite;
      }

      @keyframes blink {
        to {
          opacity: 0;
        }
      }

      .note {
        margin: 8px 0 0;
        font-style: italic;
      }

      footer {
        display: flex;
        align-items: center;
        gap: 2px;
        min-height: 24px;
        margin: 6px 0 0 -5px;
      }

      .speed {
        margin-inline-start: auto;
        font-size: 0.85em;
      }
    `,
  ];
}

function drawBlock(block: Block, citedPaths: ModelMessage['citedPaths']): TemplateResult {
  return block.kind === 'code'
    ? html`<gemma-code-block .code=${block.code} .language=${block.language}></gemma-code-block>`
    : html`<gemma-prose .source=${block.source} .citedPaths=${citedPaths}></gemma-prose>`;
}

function endNote({ end, text, keptTokens = 0 }: ModelMessage): TemplateResult | typeof nothing {
  if (end === 'stopped')
    return html`<p class="note quiet">Stopped${text === '' ? ' before the answer began' : ''}${keptTokens > 0 ? `; ${counted(keptTokens, 'token')} kept` : ''}.</p>`;
  if (end === 'length')
    return html`<p class="note quiet">The answer ends here because its room in the context is full.</p>`;
  if (end === 'repetition')
    return html`<p class="note quiet">Ended because the answer kept repeating itself.</p>`;
  if (end === 'complete' && text.trim() === '')
    return html`<p class="note quiet">The model gave an empty answer.</p>`;
  return nothing;
}

function speedLine(speed: AnswerSpeed): string {
  const rate = speed.decodeTokensPerSecond;
  return rate > 0
    ? `${rate < 100 ? rate.toFixed(1) : count(rate)} tokens/s`
    : counted(speed.generatedTokens, 'token');
}

function speedDetail(speed: AnswerSpeed): string {
  const read = speed.promptTokens - speed.cachedTokens;
  return [
    `${counted(speed.generatedTokens, 'token')} written`,
    `${counted(read, 'token')} read in ${(speed.prefillMs / 1000).toFixed(1)} s`,
    `${counted(speed.cachedTokens, 'token')} remembered from before`,
  ].join('\n');
}

customElements.define('gemma-answer', GemmaAnswer);
