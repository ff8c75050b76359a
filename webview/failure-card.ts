/** What went wrong, in a sentence, with what can be done about it. */

import { css, html, LitElement, nothing } from 'lit';
import '@vscode-elements/elements/dist/vscode-button/index.js';
import { icon } from './icons.ts';
import { send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import type { Failure, FixAction } from './state.ts';

const LABELS: Readonly<Record<FixAction, string>> = {
  retry: 'Try again',
  'new-chat': 'New chat',
  'choose-model': 'Choose model file…',
  'use-built-in-model': 'Use built-in model',
  'restart-sidecar': 'Restart sidecar',
  'show-log': 'Show log',
  'open-settings': 'Open settings',
  'open-folder': 'Open folder…',
  'manage-trust': 'Manage trust',
};

export class GemmaFailureCard extends LitElement {
  static override properties = {
    failure: { attribute: false },
    tone: { type: String, reflect: true },
  };

  declare failure: Failure;
  /** `info` for what a person should know, `error` for what keeps the answer away. */
  declare tone: 'error' | 'info';

  constructor() {
    super();
    this.tone = 'error';
  }

  override render() {
    const { message, fixes } = this.failure;
    return html`
      <section role=${this.tone === 'error' ? 'alert' : 'note'} data-testid=${this.tone === 'error' ? 'failure' : 'notice'}>
        ${icon(this.tone === 'error' ? 'error' : 'info')}
        <div>
          <p>${message}</p>
          ${
            fixes.length === 0
              ? nothing
              : html`<div class="fixes">
                  ${fixes.map(
                    (action, index) => html`<vscode-button
                      ?secondary=${index > 0 || this.tone === 'info'}
                      data-fix=${action}
                      @click=${() => void send({ type: 'fix', action }).catch(() => {})}
                      >${LABELS[action]}</vscode-button
                    >`,
                  )}
                </div>`
          }
        </div>
      </section>
    `;
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        margin: 10px 0;
      }

      section {
        display: flex;
        gap: 8px;
        padding: 10px 12px;
        border: 1px solid var(--vscode-inputValidation-errorBorder, var(--vscode-contrastBorder));
        border-radius: 6px;
        background: color-mix(in srgb, var(--vscode-errorForeground) 8%, transparent);
        line-height: 1.45;
      }

      :host([tone='info']) section {
        border-color: var(--vscode-contrastBorder, var(--vscode-widget-border, transparent));
        background: var(--vscode-textBlockQuote-background);
      }

      .codicon {
        flex: none;
        margin-top: 1px;
        color: var(--vscode-errorForeground);
      }

      :host([tone='info']) .codicon {
        color: var(--vscode-notificationsInfoIcon-foreground, var(--vscode-descriptionForeground));
      }

      p {
        margin: 0;
        overflow-wrap: anywhere;
      }

      .fixes {
        display: flex;
        flex-wrap: wrap;
        gap: 6px;
        margin-top: 10px;
      }
    `,
  ];
}

customElements.define('gemma-failure-card', GemmaFailureCard);
