/** The pictures of the question that is being written; takes what is dropped anywhere on the page. */

import { css, html, LitElement, nothing } from 'lit';
import './picture-card.ts';
import { icon } from './icons.ts';
import type { Picture } from './picture.ts';
import { filesOf, type Incoming, type PictureFromHost, PictureIntake } from './picture-intake.ts';
import { sharedStyles } from './shared-styles.ts';

export class GemmaPictureTray extends LitElement {
  static override properties = {
    pictures: { attribute: false },
    thumbnails: { attribute: false },
    dragging: { state: true },
  };

  declare pictures: readonly Picture[];
  declare thumbnails: number;
  declare dragging: boolean;
  #last: string | undefined;
  readonly #intake = new PictureIntake(() => this.requestUpdate());

  constructor() {
    super();
    this.pictures = [];
    this.thumbnails = 0;
    this.dragging = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    for (const [type, listener] of this.#listeners) window.addEventListener(type, listener);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const [type, listener] of this.#listeners) window.removeEventListener(type, listener);
  }

  get isDecoding(): boolean {
    return this.#intake.isDecoding;
  }

  take(files: readonly File[]): void {
    void this.#intake.take(files);
  }

  takeFromHost(picture: PictureFromHost): void {
    void this.#intake.takeFromHost(picture);
  }

  override render() {
    const { incoming } = this.#intake;
    return html`
      ${this.dragging ? html`<div class="drop" data-testid="drop-here">${icon('file-media')} Drop to attach</div>` : nothing}
      ${
        incoming.length + this.pictures.length === 0
          ? nothing
          : html`<ul aria-label="Pictures sent along with the question">
              ${this.pictures.map(
                (picture) =>
                  html`<li><gemma-picture .picture=${picture} .thumbnails=${this.thumbnails}></gemma-picture></li>`,
              )}
              ${incoming.map((one) => html`<li>${this.#incoming(one)}</li>`)}
            </ul>`
      }
    `;
  }

  /** What has come last is what the person looks for. */
  override updated(): void {
    const incoming = this.#intake.incoming.at(-1);
    const last = incoming === undefined ? this.pictures.at(-1)?.key : `${incoming.key} ${incoming.problem}`;
    if (last !== this.#last)
      this.renderRoot.querySelector('ul')?.lastElementChild?.scrollIntoView({ block: 'nearest' });
    this.#last = last;
  }

  #incoming({ key, name, problem }: Incoming) {
    if (problem === undefined)
      return html`<div class="incoming quiet" data-testid="decoding">Opening ${name}</div>`;
    return html`<div class="incoming problem" role="alert" data-testid="picture-problem">
      ${icon('warning')}<span>${problem}</span>
      <button
        class="icon-button"
        type="button"
        title="Dismiss"
        aria-label="Dismiss the message about ${name}"
        data-testid="dismiss-problem"
        @click=${() => this.#dismiss(key)}
      >
        ${icon('close')}
      </button>
    </div>`;
  }

  #dismiss(key: string): void {
    this.#intake.dismiss(key);
    this.dispatchEvent(new CustomEvent('gemma-picture-gone'));
  }

  // The editor lets a drag through to the page only while Shift is held.
  readonly #listeners: readonly (readonly [string, (event: Event) => void])[] = [
    ['dragover', (event) => this.#dragged(event)],
    ['dragleave', (event) => this.#left(event)],
    ['drop', (event) => this.#dropped(event)],
  ];

  #dragged(event: Event): void {
    if (!(event instanceof DragEvent) || !event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    this.dragging = true;
  }

  #left(event: Event): void {
    if (event instanceof DragEvent && event.relatedTarget === null) this.dragging = false;
  }

  #dropped(event: Event): void {
    this.dragging = false;
    if (!(event instanceof DragEvent)) return;
    const files = filesOf(event.dataTransfer);
    if (files.length === 0) return;
    event.preventDefault();
    this.take(files);
  }

  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
      }

      ul {
        display: flex;
        flex-direction: column;
        gap: 4px;
        max-height: 40vh;
        margin: 0;
        padding: 6px 6px 0;
        overflow-y: auto;
        list-style: none;
      }

      .incoming {
        display: flex;
        align-items: flex-start;
        gap: 6px;
        padding: 6px 8px;
        border: 1px solid var(--vscode-contrastBorder, var(--vscode-widget-border, transparent));
        border-radius: 6px;
        font-size: 0.9em;
        line-height: 1.4;
      }

      .problem {
        border-color: var(--vscode-inputValidation-errorBorder, var(--vscode-errorForeground));
      }

      .problem > span:not(.codicon) {
        flex: 1;
        overflow-wrap: anywhere;
      }

      .problem > .codicon {
        color: var(--vscode-errorForeground);
      }

      .drop {
        display: flex;
        align-items: center;
        justify-content: center;
        gap: 8px;
        margin: 6px 6px 0;
        padding: 18px;
        border: 1px dashed var(--vscode-focusBorder);
        border-radius: 6px;
        background: var(--vscode-list-dropBackground, transparent);
      }
    `,
  ];
}

customElements.define('gemma-picture-tray', GemmaPictureTray);
