/** Where the question is written: Enter sends, Shift+Enter breaks the line, Esc stops the answer. */

import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import './picture-tray.ts';
import './token-meter.ts';
import { attachmentChip, attachmentStyles } from './attachment-chip.ts';
import { icon } from './icons.ts';
import type { Picture } from './picture.ts';
import { filesOf } from './picture-intake.ts';
import { recall, remember, send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import type { Attachment, PromptUse } from './state.ts';
import { placeOf } from './state.ts';

const MAX_HEIGHT_PX = 220;

export class GemmaComposer extends LitElement {
  static override properties = {
    busy: { type: Boolean },
    placeholder: { type: String },
    model: { type: String },
    promptUse: { attribute: false },
    attachments: { attribute: false },
    pictures: { attribute: false },
    thumbnails: { attribute: false },
    draft: { state: true },
  };

  declare busy: boolean;
  declare placeholder: string;
  /** Name of the model, or what stands in for it. */
  declare model: string;
  declare promptUse: PromptUse | null;
  /** What goes along with the question. */
  declare attachments: readonly Attachment[];
  declare pictures: readonly Picture[];
  declare thumbnails: number;
  declare draft: string;

  constructor() {
    super();
    this.busy = false;
    this.placeholder = '';
    this.model = '';
    this.promptUse = null;
    this.attachments = [];
    this.pictures = [];
    this.thumbnails = 0;
    this.draft = recall().draft;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener('focus', this.#activity);
    window.addEventListener('blur', this.#activity);
    this.#activity();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener('focus', this.#activity);
    window.removeEventListener('blur', this.#activity);
  }

  /** The input stays the focused element of the page while the keyboard is elsewhere in the editor. */
  readonly #activity = (): void => {
    this.toggleAttribute('inactive', !document.hasFocus());
  };

  override focus(): void {
    this.#input?.focus();
  }

  override render() {
    return html`
      <div class="frame">
        <gemma-picture-tray .pictures=${this.pictures} .thumbnails=${this.thumbnails}></gemma-picture-tray>
        ${this.#chips()}
        <textarea
          rows="1"
          aria-label="Question"
          data-testid="input"
          placeholder=${this.placeholder}
          .value=${this.draft}
          @input=${this.#edited}
          @keydown=${this.#key}
          @paste=${this.#pasted}
        ></textarea>
        <div class="row">
          <button
            class="icon-button"
            type="button"
            title="Attach pictures (or paste them, or drop them with Shift held)"
            aria-label="Attach pictures"
            data-testid="attach"
            @click=${() => void send({ type: 'choose-pictures' }).catch((error: Error) => this.#notify(error.message))}
          >
            ${icon('file-media')}
          </button>
          <button
            class="model"
            type="button"
            title="Choose model file…"
            data-testid="model"
            @click=${() => void send({ type: 'fix', action: 'choose-model' }).catch(() => {})}
          >
            <span>${this.model}</span>${icon('chevron-down')}
          </button>
          <span class="gap"></span>
          ${
            this.promptUse === null
              ? nothing
              : html`<gemma-token-meter .use=${this.promptUse}></gemma-token-meter>`
          }
          ${this.busy ? this.#stopButton() : this.#sendButton()}
        </div>
      </div>
    `;
  }

  override updated(changed: PropertyValues<this>): void {
    if (changed.has('draft')) this.#fitHeight();
  }

  #chips() {
    if (this.attachments.length === 0) return nothing;
    return html`<ul class="chips" aria-label="Sent along with the question">
      ${this.attachments.map((attachment) => html`<li>${attachmentChip(attachment, () => this.#detach(attachment))}</li>`)}
    </ul>`;
  }

  #detach(attachment: Attachment): void {
    void send({ type: 'detach', place: placeOf(attachment) }).catch(() => {});
    this.focus();
  }

  #sendButton() {
    return html`<button
      class="icon-button send"
      type="button"
      title="Send (Enter)"
      aria-label="Send"
      data-testid="send"
      ?disabled=${this.draft.trim() === '' && this.pictures.length === 0}
      @click=${this.#send}
    >
      ${icon('send')}
    </button>`;
  }

  #stopButton() {
    return html`<button
      class="icon-button stop"
      type="button"
      title="Stop (Esc)"
      aria-label="Stop"
      data-testid="stop"
      @click=${this.#stop}
    >
      ${icon('stop-circle')}
    </button>`;
  }

  get #input(): HTMLTextAreaElement | null {
    return this.renderRoot.querySelector('textarea');
  }

  #edited(event: InputEvent): void {
    if (event.target instanceof HTMLTextAreaElement) this.#setDraft(event.target.value);
  }

  #key(event: KeyboardEvent): void {
    // During composition Enter picks a candidate.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!this.busy) this.#send();
  }

  #send(): void {
    const draft = this.draft.trim();
    const standIn = this.pictures.length === 1 ? 'Explain this picture.' : 'Explain these pictures.';
    const question = draft === '' && this.pictures.length > 0 ? standIn : draft;
    if (question === '') return;
    const unusable = this.pictures.find(({ encoding }) => encoding.state === 'failed');
    if (this.#tray?.isDecoding || unusable !== undefined) {
      this.#notify(
        unusable === undefined
          ? 'A picture is still being opened.'
          : `“${unusable.name}” cannot be sent. Take it off, or let it be read again.`,
      );
      return;
    }
    this.#setDraft('');
    this.focus();
    void send({ type: 'ask', question }).catch((error: Error) => {
      this.#setDraft(draft);
      this.#notify(error.message);
    });
  }

  /** Decodes a file that the host has read. */
  takePicture(key: string, name: string, bytes: ArrayBuffer): void {
    this.#tray?.takeFromHost(key, name, bytes);
  }

  get #tray() {
    return this.renderRoot.querySelector('gemma-picture-tray');
  }

  #pasted(event: ClipboardEvent): void {
    const files = filesOf(event.clipboardData);
    // A table or a page copied as text often brings a picture of itself along.
    if (files.length === 0 || event.clipboardData?.types.includes('text/plain')) return;
    event.preventDefault();
    this.#tray?.take(files);
  }

  #notify(detail: string): void {
    this.dispatchEvent(new CustomEvent('gemma-notice', { detail, bubbles: true, composed: true }));
  }

  #stop(): void {
    void send({ type: 'stop' }).catch(() => {});
    this.focus();
  }

  #setDraft(draft: string): void {
    this.draft = draft;
    remember({ draft });
  }

  #fitHeight(): void {
    const input = this.#input;
    if (input === null) return;
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight, MAX_HEIGHT_PX)}px`;
  }

  static override styles = [
    sharedStyles,
    attachmentStyles,
    css`
      :host {
        display: block;
      }

      .frame {
        /* The meter's panel is placed over it. */
        position: relative;
        border: 1px solid var(--vscode-input-border, var(--vscode-contrastBorder, var(--vscode-widget-border, transparent)));
        border-radius: 8px;
        background: var(--vscode-input-background);
      }

      :host(:not([inactive])) .frame:has(textarea:focus) {
        border-color: var(--vscode-focusBorder);
      }

      .chips {
        padding: 6px 6px 0;
      }

      textarea {
        display: block;
        width: 100%;
        min-height: 36px;
        padding: 9px 12px 4px;
        border: none;
        outline: none;
        background: none;
        color: var(--vscode-input-foreground);
        font: inherit;
        line-height: 1.45;
        resize: none;
      }

      textarea:focus-visible {
        outline: none;
      }

      textarea::placeholder {
        color: var(--vscode-input-placeholderForeground);
      }

      .row {
        display: flex;
        align-items: center;
        gap: 2px;
        padding: 0 5px 5px 6px;
      }

      .gap {
        flex: 1;
      }

      .model {
        display: inline-flex;
        align-items: center;
        gap: 2px;
        min-width: 0;
        height: 24px;
        padding: 0 6px;
        border-radius: 5px;
        color: var(--vscode-descriptionForeground);
        font-size: 0.85em;
      }

      .model:hover {
        background: var(--vscode-toolbar-hoverBackground);
      }

      .model span:first-child {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }

      .model .codicon {
        font-size: 12px;
      }

      .send:not(:disabled) {
        color: var(--vscode-button-foreground);
        background: var(--vscode-button-background);
        border-color: var(--vscode-contrastBorder, transparent);
      }

      .send:hover:not(:disabled) {
        background: var(--vscode-button-hoverBackground);
      }

      .stop {
        color: var(--vscode-foreground);
      }
    `,
  ];
}

declare global {
  interface HTMLElementTagNameMap {
    'gemma-picture-tray': import('./picture-tray.ts').GemmaPictureTray;
  }
}

customElements.define('gemma-composer', GemmaComposer);
