/** Where the question is written: Enter sends, Shift+Enter breaks the line, Esc stops the answer. */

import { html, LitElement, nothing, type PropertyValues } from 'lit';
import './mention-list.ts';
import './picture-tray.ts';
import './token-meter.ts';
import type { CostPreview, DropOffer, Mention, OverLong } from '../sidecar/protocol/context-types.ts';
import { attachmentChip, attachmentStyles } from './attachment-chip.ts';
import { composerStyles } from './composer-styles.ts';
import { costLine, dropLabel, overLongWords } from './cost-line.ts';
import { icon } from './icons.ts';
import { insertMention, type MentionTarget, mentionAt, withoutMention } from './mentions.ts';
import type { Picture } from './picture.ts';
import { filesOf, type PictureFromHost } from './picture-intake.ts';
import { recall, remember, send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import type { Attachment, PromptUse } from './state.ts';
import { placeOf } from './state.ts';

/** After the last key, the cost of the draft is asked for. */
const PREVIEW_DELAY_MS = 500;

export class GemmaComposer extends LitElement {
  static override properties = {
    busy: { type: Boolean },
    placeholder: { type: String },
    model: { type: String },
    promptUse: { attribute: false },
    attachments: { attribute: false },
    pictures: { attribute: false },
    thumbnails: { attribute: false },
    preview: { attribute: false },
    overLong: { attribute: false },
    draft: { state: true },
    mentions: { state: true },
    active: { state: true },
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
  declare preview: CostPreview | null;
  declare overLong: OverLong | null;
  declare draft: string;
  /** What can be mentioned in place of what is typed; empty while no list is open. */
  declare mentions: readonly Mention[];
  /** Which of them Enter takes. */
  declare active: number;
  #target: MentionTarget | null = null;
  #previewTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.busy = false;
    this.placeholder = '';
    this.model = '';
    this.promptUse = null;
    this.attachments = [];
    this.pictures = [];
    this.thumbnails = 0;
    this.preview = null;
    this.overLong = null;
    this.mentions = [];
    this.active = 0;
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
      ${this.#overLongCard()}
      <div class="frame">
        ${
          this.mentions.length === 0
            ? nothing
            : html`<gemma-mention-list
                .mentions=${this.mentions}
                .active=${this.active}
                @gemma-mention=${(event: CustomEvent<Mention>) => this.#choose(event.detail)}
              ></gemma-mention-list>`
        }
        <p class="visually-hidden" role="status" data-testid="mention-status">${this.#mentionStatus()}</p>
        <gemma-picture-tray
          .pictures=${this.pictures}
          .thumbnails=${this.thumbnails}
          @gemma-picture-gone=${() => this.focus()}
        ></gemma-picture-tray>
        ${this.#chips()}
        <textarea
          rows="1"
          aria-label="Question"
          aria-autocomplete="list"
          data-testid="input"
          placeholder=${this.placeholder}
          .value=${this.draft}
          @input=${this.#edited}
          @keydown=${this.#key}
          @paste=${this.#pasted}
          @blur=${this.#closeMentions}
        ></textarea>
        ${this.busy ? nothing : costLine(this.preview, this.mentions.length > 0)}
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
            aria-label="Model: ${this.model}. Choose another"
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
    if (changed.has('draft') || changed.has('attachments') || changed.has('pictures') || changed.has('busy'))
      this.#previewSoon();
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
    if (!(event.target instanceof HTMLTextAreaElement)) return;
    this.#setDraft(event.target.value);
    this.#target = mentionAt(event.target.value, event.target.selectionStart);
    if (this.#target === null) this.#closeMentions();
    else void send({ type: 'complete-mention', query: this.#target.query }).catch(() => {});
  }

  /** Mentions for what was typed behind the @; late ones for an older query are dropped. */
  showMentions(query: string, mentions: readonly Mention[]): void {
    if (this.#target?.query !== query) return;
    this.mentions = mentions;
    this.active = 0;
  }

  /** The list is in a tree of its own, so the input cannot point at what is active in it. */
  #mentionStatus(): string {
    const mention = this.mentions[this.active];
    return mention === undefined ? '' : `${mention.label}, ${this.active + 1} of ${this.mentions.length}`;
  }

  #closeMentions(): void {
    this.#target = null;
    this.mentions = [];
  }

  #choose(mention: Mention): void {
    const target = this.#target;
    if (target === null) return;
    this.#closeMentions();
    const { draft, cursor } = insertMention(this.draft, target, mention);
    this.#setDraft(draft);
    const { kind } = mention;
    if (kind === 'selection' || kind === 'problems' || kind === 'terminal')
      void send({ type: 'attach-mention', kind }).catch((error: Error) => this.#notify(error.message));
    void this.updateComplete.then(() => {
      this.#input?.setSelectionRange(cursor, cursor);
      this.focus();
    });
  }

  /** True when the key belongs to the open list. */
  #mentionKey(event: KeyboardEvent): boolean {
    if (this.mentions.length === 0 || event.isComposing) return false;
    const steps: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 };
    const step = steps[event.key];
    const chosen = this.mentions[this.active];
    if (step !== undefined) this.active = (this.active + step + this.mentions.length) % this.mentions.length;
    else if (event.key === 'Escape') this.#closeMentions();
    else if ((event.key === 'Enter' || event.key === 'Tab') && !event.shiftKey && chosen)
      this.#choose(chosen);
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #previewSoon(): void {
    clearTimeout(this.#previewTimer);
    this.#previewTimer = setTimeout(() => {
      void send({ type: 'preview', question: this.draft }).catch(() => {});
    }, PREVIEW_DELAY_MS);
  }

  #overLongCard() {
    const { overLong } = this;
    if (overLong === null) return nothing;
    return html`<section class="over-long" role="alert" data-testid="over-long">
      <p>${icon('warning')} ${overLongWords(overLong)}</p>
      <div class="offers">
        ${overLong.offers.map(
          (offer) =>
            html`<button type="button" class="link" @click=${() => this.#drop(offer)}>${dropLabel(offer)}</button>`,
        )}
      </div>
    </section>`;
  }

  #drop({ kind, name }: DropOffer): void {
    if (kind === 'mention') this.#setDraft(withoutMention(this.draft, name));
    else
      void send({ type: 'drop', kind, name }).then(
        () => this.#previewSoon(),
        () => {},
      );
    this.focus();
  }

  #key(event: KeyboardEvent): void {
    if (this.#mentionKey(event)) return;
    // During composition Enter picks a candidate.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!this.busy) this.#send();
  }

  #send(): void {
    const draft = this.draft.trim();
    const standIn = this.pictures.length === 1 ? 'Explain this image.' : 'Explain these images.';
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

  /** Decodes or draws what the host has read. */
  takePicture(picture: PictureFromHost): void {
    this.#tray?.takeFromHost(picture);
  }

  /** A question that could not be asked at once. */
  suggest(question: string): void {
    if (this.draft.trim() === '') this.#setDraft(question);
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

  static override styles = [sharedStyles, attachmentStyles, composerStyles];
}

declare global {
  interface HTMLElementTagNameMap {
    'gemma-picture-tray': import('./picture-tray.ts').GemmaPictureTray;
  }
}

customElements.define('gemma-composer', GemmaComposer);
