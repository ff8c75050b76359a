/** What a new chat offers: what can be asked, one click away. */

import { css, html, LitElement } from 'lit';
import '@vscode-elements/elements/dist/vscode-button/index.js';
import { send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import type { Workspace } from './state.ts';

const REPOSITORY_QUESTIONS = [
  'What does this project do, and where does it start?',
  'How do I build it and run its tests?',
  'Which files would I change to add a setting?',
  'Where are errors handled?',
];
const GENERAL_QUESTIONS = [
  'Write a function that removes duplicates from an array in TypeScript.',
  'Explain what a race condition is, with a short example.',
];

export class GemmaEmptyState extends LitElement {
  static override properties = { workspace: { attribute: false } };

  declare workspace: Workspace;

  override render() {
    const { folder, trusted } = this.workspace;
    const reads = folder !== null && trusted;
    return html`
      <div class="mark" aria-hidden="true">
        <svg viewBox="0 0 24 24"><path d="M7.2 4h9.6l4.2 5.4L12 20 3 9.4z"></path><path d="M3 9.4h18M8.4 9.4 12 20l3.6-10.6L12 4z"></path></svg>
      </div>
      <h2>${reads ? html`Ask about <em>${folder}</em>` : 'Ask Gemma'}</h2>
      <p class="quiet">
        ${reads ? 'Gemma reads the repository and answers with the places in it.' : 'Gemma answers from the conversation.'}
        Nothing leaves this machine.
      </p>
      ${
        folder === null
          ? html`<vscode-button secondary @click=${() => void send({ type: 'fix', action: 'open-folder' }).catch(() => {})}
              >Open a folder to ask about its code</vscode-button
            >`
          : ''
      }
      <ul aria-label="Examples">
        ${(reads ? REPOSITORY_QUESTIONS : GENERAL_QUESTIONS).map(
          (question) => html`<li>
            <button
              type="button"
              data-testid="example"
              @click=${() => void send({ type: 'ask', question }).catch(() => {})}
            >
              ${question}
            </button>
          </li>`,
        )}
      </ul>
    `;
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: flex;
        flex-direction: column;
        align-items: center;
        justify-content: center;
        flex: 1;
        padding: 24px 8px;
        text-align: center;
      }

      .mark svg {
        width: 44px;
        height: 44px;
        fill: none;
        stroke: var(--vscode-descriptionForeground);
        stroke-width: 1;
        stroke-linejoin: round;
      }

      h2 {
        margin: 12px 0 6px;
        font-size: 1.3em;
        font-weight: 600;
        overflow-wrap: anywhere;
      }

      h2 em {
        font-style: normal;
      }

      p {
        max-width: 34em;
        margin: 0 0 14px;
        line-height: 1.45;
      }

      vscode-button {
        margin-bottom: 10px;
      }

      ul {
        display: flex;
        flex-direction: column;
        gap: 6px;
        width: 100%;
        max-width: 380px;
        margin: 6px 0 0;
        padding: 0;
        list-style: none;
      }

      li button {
        width: 100%;
        padding: 7px 12px;
        border: 1px solid var(--vscode-contrastBorder, var(--vscode-widget-border, var(--vscode-input-border)));
        border-radius: 6px;
        line-height: 1.4;
        text-align: start;
      }

      li button:hover {
        background: var(--vscode-list-hoverBackground);
        border-color: var(--vscode-contrastActiveBorder, var(--vscode-focusBorder));
      }
    `,
  ];
}

customElements.define('gemma-empty-state', GemmaEmptyState);
