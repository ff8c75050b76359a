/** A picture of a question: thumbnail, name, size, tokens and state, with what can be done about it. */

import { css, html, LitElement, nothing, svg, type TemplateResult } from 'lit';
import { icon } from './icons.ts';
import type { Picture } from './picture.ts';
import { detailsCost, encodingFraction, pictureSize, pictureState } from './picture-words.ts';
import { send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import { thumbnailAddress } from './thumbnails.ts';

export class GemmaPicture extends LitElement {
  static override properties = {
    picture: { attribute: false },
    thumbnails: { attribute: false },
    sent: { type: Boolean },
  };

  declare picture: Picture;
  /** Changes with every thumbnail that arrives, so that this is drawn again. */
  declare thumbnails: number;
  /** It belongs to a question that was asked, and stays as it is. */
  declare sent: boolean;

  constructor() {
    super();
    this.thumbnails = 0;
    this.sent = false;
  }

  override render() {
    const { name, encoding, region } = this.picture;
    const failed = encoding.state === 'failed';
    return html`
      <figure data-testid="picture" data-state=${encoding.state} aria-label="Picture ${name}">
        ${this.#thumbnail()}
        <figcaption>
          <span class="name" title=${name}>${name}</span>
          <span class="quiet">${region === undefined ? '' : 'Part, '}${pictureSize(this.picture)}</span>
          <span class=${failed ? 'failed' : 'quiet'} role=${failed ? 'alert' : nothing} data-testid="picture-state"
            >${failed ? icon('warning') : nothing}${pictureState(this.picture)}</span
          >
          ${this.picture.notes.map((note) => html`<span class="quiet">${note}</span>`)}
          ${this.sent ? nothing : this.#actions()}
        </figcaption>
        ${this.sent ? nothing : this.#removeButton()}
      </figure>
    `;
  }

  #thumbnail(): TemplateResult {
    const address = thumbnailAddress(this.picture.key);
    const image =
      address === undefined
        ? html`<span class="blank">${icon('file-media')}</span>`
        : html`<img src=${address} alt="" />`;
    const content = html`${image}${progressRing(encodingFraction(this.picture.encoding), this.picture)}`;
    if (this.sent) return html`<div class="thumbnail">${content}</div>`;
    return html`<button
      class="thumbnail"
      type="button"
      title="Choose the part to send"
      aria-label="Choose the part of ${this.picture.name} to send"
      data-testid="choose-region"
      @click=${this.#chooseRegion}
    >
      ${content}
    </button>`;
  }

  #actions(): TemplateResult | typeof nothing {
    const { key, encoding, details, offer } = this.picture;
    if (encoding.state === 'failed' || encoding.state === 'stopped')
      return html`<button type="button" class="link" @click=${() => ask({ type: 'encode-again', key })}>Try again</button>`;
    const cost = detailsCost(this.picture);
    if (cost === null && !details) return nothing;
    return html`<label title="Small text becomes readable; each part is read like a picture of its own">
      <input
        type="checkbox"
        data-testid="read-details"
        .checked=${details}
        @change=${() => ask({ type: 'read-details', key, details: !details })}
      />
      <span>Read details${offer?.advised && !details ? ' (its text is small)' : ''}: <span class="quiet">${cost}</span></span>
    </label>`;
  }

  #removeButton(): TemplateResult {
    const { key, name } = this.picture;
    return html`<button
      class="icon-button"
      type="button"
      title="Do not send"
      aria-label="Do not send ${name}"
      data-testid="remove-picture"
      @click=${() => this.#remove(key)}
    >
      ${icon('close')}
    </button>`;
  }

  /** The button goes with the picture: the keyboard must not be left on nothing. */
  #remove(key: string): void {
    ask({ type: 'remove-picture', key });
    this.dispatchEvent(new CustomEvent('gemma-picture-gone', { bubbles: true, composed: true }));
  }

  #chooseRegion(): void {
    this.dispatchEvent(
      new CustomEvent('gemma-choose-region', { detail: this.picture.key, bubbles: true, composed: true }),
    );
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        min-width: 0;
      }

      figure {
        display: flex;
        gap: 8px;
        margin: 0;
        padding: 5px;
        border: 1px solid var(--vscode-chat-requestBorder, var(--vscode-contrastBorder, var(--vscode-widget-border, transparent)));
        border-radius: 6px;
        background: var(--vscode-editor-background);
        color: var(--vscode-foreground);
        font-size: 0.9em;
        line-height: 1.35;
        white-space: normal;
      }

      figure[data-state='failed'] {
        border-color: var(--vscode-inputValidation-errorBorder, var(--vscode-errorForeground));
      }

      .thumbnail {
        position: relative;
        flex: none;
        display: grid;
        place-items: center;
        width: 56px;
        height: 56px;
        padding: 0;
        border-radius: 4px;
        overflow: hidden;
        background: var(--vscode-textCodeBlock-background);
      }

      img {
        max-width: 100%;
        max-height: 100%;
      }

      .blank .codicon {
        font-size: 22px;
        color: var(--vscode-descriptionForeground);
      }

      .ring {
        position: absolute;
        inset: 10px;
        border-radius: 50%;
        background: color-mix(in srgb, var(--vscode-editor-background) 75%, transparent);
        fill: none;
        stroke-width: 3;
      }

      .ring .track {
        stroke: var(--track);
      }

      .ring .done {
        stroke: var(--vscode-progressBar-background);
        stroke-linecap: round;
        transform: rotate(-90deg);
        transform-origin: center;
      }

      .ring.unknown {
        animation: turn 1.2s linear infinite;
      }

      @keyframes turn {
        to {
          transform: rotate(360deg);
        }
      }

      figcaption {
        display: flex;
        flex: 1;
        flex-direction: column;
        min-width: 0;
        font-variant-numeric: tabular-nums;
      }

      .name {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }

      .failed {
        color: var(--vscode-errorForeground);
        overflow-wrap: anywhere;
      }

      .failed .codicon {
        margin-inline-end: 4px;
        font-size: 13px;
        vertical-align: text-bottom;
      }

      .link {
        align-self: flex-start;
      }

      label {
        display: flex;
        align-items: flex-start;
        gap: 5px;
        margin-top: 2px;
      }

      input {
        flex: none;
        margin: 1px 0 0;
        accent-color: var(--vscode-button-background);
      }

      .icon-button {
        flex: none;
      }
    `,
  ];
}

const CIRCUMFERENCE = 2 * Math.PI * 14;

function progressRing(fraction: number | null, { encoding }: Picture): TemplateResult | typeof nothing {
  if (encoding.state === 'ready' || encoding.state === 'failed' || encoding.state === 'stopped')
    return nothing;
  const percent = fraction === null ? null : Math.floor(fraction * 100);
  return html`<svg
    class="ring ${fraction === null ? 'unknown' : ''}"
    viewBox="0 0 36 36"
    role="progressbar"
    aria-label="Reading the picture"
    aria-valuemin="0"
    aria-valuemax="100"
    aria-valuenow=${percent ?? nothing}
  >
    ${svg`<circle class="track" cx="18" cy="18" r="14"></circle>
    <circle class="done" cx="18" cy="18" r="14" stroke-dasharray="${(fraction ?? 0.25) * CIRCUMFERENCE} ${CIRCUMFERENCE}"></circle>`}
  </svg>`;
}

function ask(request: Parameters<typeof send>[0]): void {
  void send(request).catch(() => {});
}

customElements.define('gemma-picture', GemmaPicture);
