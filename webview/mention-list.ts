/** The list of mentions over the input. The keyboard stays in the input, which tells this list where it is. */

import { css, html, LitElement, nothing } from 'lit';
import type { Mention } from '../sidecar/protocol/context-types.ts';
import { icon } from './icons.ts';
import { matchedParts } from './mentions.ts';
import { sharedStyles } from './shared-styles.ts';

const ICONS: Readonly<Record<Mention['kind'], string>> = {
  file: 'file',
  folder: 'folder',
  selection: 'list-selection',
  problems: 'warning',
  diff: 'diff',
  terminal: 'terminal',
};

export class GemmaMentionList extends LitElement {
  static override properties = { mentions: { attribute: false }, active: { type: Number } };

  declare mentions: readonly Mention[];
  declare active: number;

  constructor() {
    super();
    this.mentions = [];
    this.active = 0;
  }

  override render() {
    return html`<ul role="listbox" aria-label="What to mention" data-testid="mentions">
      ${this.mentions.map(
        (mention, index) => html`<li
          role="option"
          aria-selected=${index === this.active}
          data-kind=${mention.kind}
          title=${mention.path ?? nothing}
          @pointerdown=${(event: Event) => event.preventDefault()}
          @click=${() => this.#choose(mention)}
        >
          ${icon(ICONS[mention.kind])}
          <span class="label"
            >${matchedParts(mention.label, mention.matches).map(({ text, matched }) =>
              matched ? html`<mark>${text}</mark>` : text,
            )}</span
          >
        </li>`,
      )}
    </ul>`;
  }

  override updated(): void {
    this.renderRoot.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' });
  }

  #choose(mention: Mention): void {
    this.dispatchEvent(new CustomEvent('gemma-mention', { detail: mention }));
  }

  static override styles = [
    sharedStyles,
    css`
      ul {
        position: absolute;
        inset: auto -1px calc(100% + 4px) -1px;
        z-index: 3;
        max-height: 230px;
        margin: 0;
        padding: 4px;
        overflow-y: auto;
        border: 1px solid var(--vscode-editorSuggestWidget-border, var(--vscode-contrastBorder, var(--vscode-widget-border)));
        border-radius: 6px;
        background: var(--vscode-editorSuggestWidget-background, var(--vscode-editorWidget-background));
        color: var(--vscode-editorSuggestWidget-foreground, var(--vscode-foreground));
        box-shadow: 0 4px 14px var(--vscode-widget-shadow, transparent);
        list-style: none;
      }

      li {
        display: flex;
        align-items: center;
        gap: 6px;
        padding: 3px 6px;
        border-radius: 4px;
        cursor: pointer;
      }

      li:hover {
        background: var(--vscode-list-hoverBackground);
      }

      li[aria-selected='true'] {
        background: var(--vscode-editorSuggestWidget-selectedBackground, var(--vscode-list-activeSelectionBackground));
        color: var(--vscode-editorSuggestWidget-selectedForeground, var(--vscode-list-activeSelectionForeground));
        outline: 1px solid var(--vscode-contrastActiveBorder, transparent);
        outline-offset: -1px;
      }

      .label {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }

      mark {
        background: none;
        color: var(--vscode-editorSuggestWidget-highlightForeground, inherit);
        font-weight: 600;
      }

      li[aria-selected='true'] mark {
        color: var(--vscode-editorSuggestWidget-focusHighlightForeground, inherit);
      }
    `,
  ];
}

customElements.define('gemma-mention-list', GemmaMentionList);
