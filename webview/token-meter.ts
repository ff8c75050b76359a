/** What fills the context window: a bar that opens to numbers and to the list of files left out. */

import { css, html, LitElement, nothing, svg, type TemplateResult } from 'lit';
import { icon } from './icons.ts';
import { send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import type { PromptUse } from './state.ts';
import {
  count,
  counted,
  LEFT_OUT_REASONS,
  type MeterPart,
  meterParts,
  tokenCapacity,
  usedFraction,
} from './wording.ts';

export class GemmaTokenMeter extends LitElement {
  static override properties = {
    use: { attribute: false },
    open: { type: Boolean, reflect: true },
  };

  declare use: PromptUse;
  declare open: boolean;

  constructor() {
    super();
    this.open = false;
    this.addEventListener('keydown', (event) => this.#key(event));
  }

  override render() {
    const { tokenUse } = this.use;
    const parts = meterParts(tokenUse);
    const percent = Math.round(usedFraction(tokenUse) * 100);
    return html`
      ${this.open ? this.#panel(parts, percent) : nothing}
      <button
        class="meter"
        type="button"
        data-testid="meter"
        aria-expanded=${this.open}
        aria-label="Context: ${percent} % of ${count(tokenUse.contextLength)} tokens used"
        title=${parts.map((part) => `${part.label}: ${counted(part.tokens, 'token')}`).join('\n')}
        @click=${this.#toggle}
      >
        ${bar(parts, tokenUse.contextLength)}
        <span>${percent} %</span>
      </button>
    `;
  }

  /** The keyboard follows what opens, and comes back. */
  #toggle(): void {
    this.open = !this.open;
    const target = this.open ? '.panel' : '.meter';
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(target)?.focus());
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== 'Escape' || !this.open) return;
    event.stopPropagation();
    this.#toggle();
  }

  #panel(parts: readonly MeterPart[], percent: number): TemplateResult {
    const { tokenUse } = this.use;
    return html`
      <section class="panel" role="dialog" tabindex="-1" aria-label="What fills the context">
        <header>
          <strong>Context</strong>
          <span class="quiet">${percent} % of ${tokenCapacity(tokenUse.contextLength)} tokens</span>
          <button class="icon-button" type="button" title="Close" aria-label="Close" @click=${this.#toggle}>
            ${icon('close')}
          </button>
        </header>
        ${bar(parts, tokenUse.contextLength)}
        <dl>
          ${parts.map(
            (part) => html`<div>
              <dt><span class="swatch ${part.name}"></span>${part.label}</dt>
              <dd>${count(part.tokens)}</dd>
            </div>`,
          )}
        </dl>
        ${this.#files()}
        <button type="button" class="link all" data-testid="show-context" @click=${() => void send({ type: 'show-context' }).catch(() => {})}>
          What fills the window, file by file
        </button>
      </section>
    `;
  }

  #files(): TemplateResult | typeof nothing {
    const { fileCount, leftOut, leftOutMore } = this.use;
    const all = leftOut.length + (leftOutMore?.files ?? 0);
    if (fileCount === 0 && leftOut.length === 0) return nothing;
    const read = `${counted(fileCount, 'file')} read`;
    if (leftOut.length === 0) return html`<p class="files">${read}, none left out</p>`;
    return html`
      <details class="files" data-testid="left-out">
        <summary>${read}, ${count(all)} left out</summary>
        <ul tabindex="0" aria-label="Files left out">
          ${leftOut.map(
            (file) => html`<li>
              <span class="path" title=${file.path}>${file.path}</span>
              <span class="quiet">${LEFT_OUT_REASONS[file.reason]}</span>
            </li>`,
          )}
          ${leftOutMore ? html`<li class="quiet">and ${count(leftOutMore.files)} more</li>` : nothing}
        </ul>
      </details>
    `;
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
      }

      .meter {
        display: inline-flex;
        align-items: center;
        gap: 6px;
        height: 24px;
        padding: 0 6px;
        border-radius: 5px;
        color: var(--vscode-descriptionForeground);
        font-size: 0.85em;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }

      .meter:hover {
        background: var(--vscode-toolbar-hoverBackground);
      }

      .meter svg {
        width: 44px;
      }

      /* The number alone, in the narrowest side bar. */
      @media (max-width: 240px) {
        .meter svg {
          display: none;
        }
      }

      svg {
        display: block;
        width: 100%;
        height: 6px;
        border-radius: 3px;
        background: var(--track);
        outline: 1px solid var(--vscode-contrastBorder, transparent);
      }

      .repository {
        --part: var(--vscode-charts-blue);
      }

      .conversation {
        --part: var(--vscode-charts-purple);
      }

      .reserved {
        --part: var(--vscode-charts-yellow);
      }

      .free {
        --part: transparent;
      }

      rect {
        fill: var(--part);
      }

      .panel {
        outline: none;
        position: absolute;
        inset: auto -1px calc(100% + 6px) -1px;
        z-index: 2;
        max-width: 380px;
        margin-inline-start: auto;
        padding: 10px 12px 12px;
        border: 1px solid var(--vscode-contrastBorder, var(--vscode-widget-border));
        border-radius: 8px;
        background: var(--vscode-editorWidget-background);
        color: var(--vscode-editorWidget-foreground);
        box-shadow: 0 4px 14px var(--vscode-widget-shadow, transparent);
      }

      header {
        display: flex;
        align-items: center;
        gap: 8px;
        margin-bottom: 8px;
      }

      header .quiet {
        flex: 1;
      }

      dl {
        margin: 10px 0 0;
      }

      dl > div {
        display: flex;
        justify-content: space-between;
        gap: 8px;
        padding: 2px 0;
      }

      dt {
        display: flex;
        align-items: center;
        gap: 8px;
      }

      dd {
        margin: 0;
        font-variant-numeric: tabular-nums;
      }

      .swatch {
        flex: none;
        width: 9px;
        height: 9px;
        border: 1px solid var(--vscode-contrastBorder, transparent);
        border-radius: 2px;
        background: var(--part);
      }

      .swatch.free {
        background: var(--track);
      }

      .files {
        margin: 10px 0 0;
        padding-top: 8px;
        border-top: 1px solid var(--vscode-widget-border, var(--vscode-contrastBorder));
      }

      .all {
        margin-top: 8px;
      }

      summary {
        cursor: pointer;
        border-radius: 2px;
      }

      ul {
        max-height: 180px;
        margin: 6px 0 0;
        padding: 0;
        overflow-y: auto;
        list-style: none;
      }

      li {
        display: flex;
        justify-content: space-between;
        gap: 12px;
        padding: 2px 0;
      }

      .path {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
        direction: rtl;
        unicode-bidi: plaintext;
      }

      li .quiet {
        flex: none;
      }
    `,
  ];
}

function bar(parts: readonly MeterPart[], total: number): TemplateResult {
  let offset = 0;
  const placed = parts.map((part) => {
    const width = total > 0 ? (part.tokens / total) * 100 : 0;
    const x = offset;
    offset += width;
    return { name: part.name, x, width };
  });
  return html`<svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
    ${placed.map(({ name, x, width }) => svg`<rect class=${name} x=${x} width=${width} height="6"></rect>`)}
  </svg>`;
}

customElements.define('gemma-token-meter', GemmaTokenMeter);
