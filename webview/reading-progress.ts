/** What happens before the first word: the repository is read, a model is loaded, another request is waited for. */

import { css, html, LitElement } from 'lit';
import { sharedStyles } from './shared-styles.ts';
import type { ProgressLine } from './wording.ts';

export class GemmaReadingProgress extends LitElement {
  static override properties = { line: { attribute: false } };

  declare line: ProgressLine;

  override render() {
    const { text, fraction } = this.line;
    const percent = fraction === null ? null : Math.floor(fraction * 100);
    return html`
      <div
        class="bar"
        role="progressbar"
        aria-label="Progress"
        aria-valuetext=${text}
        aria-valuemin="0"
        aria-valuemax="100"
        .ariaValueNow=${percent === null ? null : String(percent)}
        ?data-unknown=${fraction === null}
      >
        <svg viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true">
          <rect class="done" width=${percent ?? 30} height="2"></rect>
        </svg>
      </div>
      <p class="quiet" data-testid="progress">${text}</p>
    `;
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
      }

      .bar {
        height: 3px;
        border-radius: 2px;
        background: var(--track);
        outline: 1px solid var(--vscode-contrastBorder, transparent);
        overflow: hidden;
      }

      svg {
        display: block;
        width: 100%;
        height: 100%;
      }

      .done {
        fill: var(--vscode-progressBar-background);
        transition: width 200ms ease-out;
      }

      [data-unknown] .done {
        animation: sweep 1.6s ease-in-out infinite;
      }

      @keyframes sweep {
        from {
          transform: translateX(-30px);
        }
        to {
          transform: translateX(100px);
        }
      }

      p {
        margin: 7px 0 0;
        line-height: 1.45;
        font-variant-numeric: tabular-nums;
      }
    `,
  ];
}

customElements.define('gemma-reading-progress', GemmaReadingProgress);
