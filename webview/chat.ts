/** The whole page: the conversation, what stands in its way, and the composer. */

import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import './answer.ts';
import './composer.ts';
import './empty-state.ts';
import './picture-card.ts';
import './reading-progress.ts';
import './region-dialog.ts';
import { announcement } from './announcement.ts';
import { attachmentChip, attachmentStyles } from './attachment-chip.ts';
import { chatStyles } from './chat-styles.ts';
import { icon } from './icons.ts';
import type { HostMessage } from './messages.ts';
import { connect, send } from './port.ts';
import type { ShownPixels } from './region-dialog.ts';
import { sharedStyles } from './shared-styles.ts';
import { standingCards } from './standing-cards.ts';
import {
  activity,
  allPictures,
  type ChatEvent,
  type ChatState,
  INITIAL_STATE,
  isBusy,
  type Message,
  reduce,
} from './state.ts';
import { keepThumbnail } from './thumbnails.ts';
import { progressLine } from './wording.ts';

/** So close to the end, the view follows the text. */
const FOLLOW_DISTANCE_PX = 40;
const NOTICE_MS = 4_000;

export class GemmaChat extends LitElement {
  static override properties = {
    state: { state: true },
    following: { state: true },
    notice: { state: true },
    announced: { state: true },
    thumbnails: { state: true },
    viewed: { state: true },
  };

  declare state: ChatState;
  /** The view sticks to the end of the conversation until the person scrolls up. */
  declare following: boolean;
  /** A short message about the last click. */
  declare notice: string;
  /** What a screen reader says next. */
  declare announced: string;
  /** How many thumbnails have come. */
  declare thumbnails: number;
  /** The picture whose part is being chosen. */
  declare viewed: ShownPixels | null;
  /** The newest state; drawn at most once a frame. */
  #latest: ChatState = INITIAL_STATE;
  #frame = 0;
  #scrollTop = 0;
  readonly #growth = new ResizeObserver(() => this.#follow());
  #noticeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.state = INITIAL_STATE;
    this.following = true;
    this.notice = '';
    this.announced = '';
    this.thumbnails = 0;
    this.viewed = null;
    this.addEventListener('gemma-choose-region', (event) => this.#viewPicture(event));
    this.addEventListener('gemma-notice', (event) => this.#showNotice(event));
    this.addEventListener('keydown', (event) => this.#key(event));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    connect((message) => this.#receive(message));
  }

  override render() {
    const { state } = this;
    const now = activity(state);
    return html`
      <main data-testid="state" data-state=${now} aria-busy=${isBusy(state)}>
        <div class="scroller" data-testid="messages" @scroll=${this.#scrolled}>
          ${state.messages.length === 0 ? this.#start() : this.#conversation()}
        </div>
        ${
          this.following
            ? nothing
            : html`<button class="to-end" type="button" title="Go to the end" aria-label="Go to the end" @click=${this.#toEnd}>
                ${icon('arrow-down')}
              </button>`
        }
        <div class="bottom">
          <p class="notice" role="status" ?hidden=${this.notice === ''}>${this.notice}</p>
          ${standingCards(state)}
          <gemma-composer
            .busy=${isBusy(state)}
            .placeholder=${state.workspace.folder === null || !state.workspace.trusted ? 'Ask Gemma' : 'Ask about this repository'}
            .model=${modelName(state)}
            .promptUse=${state.promptUse}
            .attachments=${state.attachments}
            .pictures=${state.pictures}
            .preview=${state.preview}
            .overLong=${state.overLong}
            .thumbnails=${this.thumbnails}
          ></gemma-composer>
        </div>
        ${this.#regionDialog()}
        <div class="visually-hidden" role="status" aria-live="polite" data-testid="announcement">${this.announced}</div>
      </main>
    `;
  }

  override updated(changed: PropertyValues<this>): void {
    if (!changed.has('state')) return;
    const conversation = this.renderRoot.querySelector('.conversation');
    if (conversation !== null) this.#growth.observe(conversation);
    else this.following = true;
  }

  #start(): TemplateResult {
    return html`<gemma-empty-state .workspace=${this.state.workspace}></gemma-empty-state>`;
  }

  #conversation(): TemplateResult {
    const { messages } = this.state;
    return html`<div class="conversation" role="list" aria-label="Conversation" @keydown=${this.#move}>
      ${messages.map((message, index) => this.#message(message, index === messages.length - 1))}
    </div>`;
  }

  #message(message: Message, last: boolean): TemplateResult {
    const tabIndex = last ? 0 : -1;
    if (message.role === 'user') {
      const { text, attachments = [], pictures = [] } = message;
      const chips = [
        ...pictures.map(
          (picture) =>
            html`<li><gemma-picture sent .picture=${picture} .thumbnails=${this.thumbnails}></gemma-picture></li>`,
        ),
        ...attachments.map((attachment) => html`<li>${attachmentChip(attachment)}</li>`),
      ];
      // White space counts in the question, so its own stays out of the template.
      return html`<div class="message question" role="listitem" aria-label="You" tabindex=${tabIndex}>${chips.length === 0 ? nothing : html`<ul class="chips" aria-label="Sent along">${chips}</ul>`}${text}</div>`;
    }
    const reading = message.end === 'streaming' && message.text === '';
    return html`<div class="message answer" role="listitem" aria-label="Gemma" tabindex=${tabIndex}>
      ${
        reading
          ? html`<gemma-reading-progress .line=${progressLine(this.state)}></gemma-reading-progress>`
          : html`<gemma-answer .message=${message} ?last=${last}></gemma-answer>${last ? leftOutNote(this.state) : nothing}`
      }
    </div>`;
  }

  #receive(message: Exclude<HostMessage, { type: 'reply' }>): void {
    switch (message.type) {
      case 'state':
        this.following = true;
        this.#draw(message.state);
        break;
      case 'event':
        this.#apply(message.event);
        break;
      case 'focus':
        this.#focusInput();
        break;
      case 'draft':
        this.#composer?.suggest(message.question);
        break;
      case 'decode':
      case 'draw':
        this.#composer?.takePicture(message);
        break;
      case 'mentions':
        this.#composer?.showMentions(message.query, message.mentions);
        break;
      case 'thumbnail':
        keepThumbnail(message.key, message.png);
        this.thumbnails += 1;
        break;
      case 'pixels':
        this.viewed = message;
        break;
      default:
        message satisfies never;
    }
  }

  #apply(event: ChatEvent): void {
    const before = this.#latest;
    const next = reduce(before, event);
    this.announced = announcement(before, next) ?? this.announced;
    if (event.type === 'asked' || event.type === 'asked-again') this.following = true;
    if (event.type === 'cleared') this.#focusInput();
    if (event.type === 'streamed' || event.type === 'progressed') this.#drawSoon(next);
    else this.#draw(next);
  }

  #draw(state: ChatState): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#latest = state;
    this.state = state;
  }

  /** Tokens come faster than frames. */
  #drawSoon(state: ChatState): void {
    this.#latest = state;
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => this.#draw(this.#latest));
  }

  get #composer() {
    return this.renderRoot.querySelector('gemma-composer');
  }

  #focusInput(): void {
    this.#composer?.focus();
  }

  #viewPicture(event: Event): void {
    if (!(event instanceof CustomEvent) || typeof event.detail !== 'string') return;
    void send({ type: 'view-picture', key: event.detail }).catch((error: Error) =>
      this.#notify(error.message),
    );
  }

  #regionDialog(): TemplateResult | typeof nothing {
    const { viewed } = this;
    if (viewed === null) return nothing;
    const region = allPictures(this.state).find(({ key }) => key === viewed.key)?.region ?? null;
    const closed = () => {
      this.viewed = null;
      this.#focusInput();
    };
    return html`<gemma-region-dialog
      .pixels=${viewed}
      .region=${region}
      @gemma-region-closed=${closed}
    ></gemma-region-dialog>`;
  }

  #scrolled(event: Event): void {
    if (!(event.target instanceof HTMLElement)) return;
    const { scrollHeight, scrollTop, clientHeight } = event.target;
    // Text that grows also moves the end away; only a move upwards is the person's.
    if (scrollTop < this.#scrollTop) this.following = false;
    if (scrollHeight - scrollTop - clientHeight < FOLLOW_DISTANCE_PX) this.following = true;
    this.#scrollTop = scrollTop;
  }

  #toEnd(): void {
    this.following = true;
    this.#follow();
  }

  #follow(): void {
    const scroller = this.renderRoot.querySelector('.scroller');
    if (scroller !== null && this.following) scroller.scrollTop = scroller.scrollHeight;
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== 'Escape' || !isBusy(this.#latest) || this.viewed !== null) return;
    event.preventDefault();
    void send({ type: 'stop' }).catch(() => {});
  }

  /** Arrow keys go from message to message. */
  #move(event: KeyboardEvent): void {
    const { target } = event;
    if (!(target instanceof HTMLElement) || !target.classList.contains('message')) return;
    const steps: Readonly<Record<string, Element | null | undefined>> = {
      ArrowUp: target.previousElementSibling,
      ArrowDown: target.nextElementSibling,
      Home: target.parentElement?.firstElementChild,
      End: target.parentElement?.lastElementChild,
    };
    const next = steps[event.key];
    if (!(next instanceof HTMLElement)) return;
    event.preventDefault();
    target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  #showNotice(event: Event): void {
    if (event instanceof CustomEvent && typeof event.detail === 'string') this.#notify(event.detail);
  }

  #notify(notice: string): void {
    this.notice = notice;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => {
      this.notice = '';
    }, NOTICE_MS);
  }

  static override styles = [sharedStyles, attachmentStyles, chatStyles];
}

/** Files that belong to the repository but did not fit are never dropped without a word. */
function leftOutNote({ promptUse }: ChatState): TemplateResult | typeof nothing {
  const listed = promptUse?.leftOut.filter((file) => file.reason === 'budget').length ?? 0;
  const dropped = listed + (promptUse?.leftOutMore?.forRoom ?? 0);
  if (dropped === 0) return nothing;
  const files = dropped === 1 ? '1 file' : `${dropped.toLocaleString('en-US')} files`;
  return html`<p class="left-out quiet">
    ${files} did not fit into the context and ${dropped === 1 ? 'was' : 'were'} not read, or only in part.
  </p>`;
}

function modelName({ status, sidecar }: ChatState): string {
  if (status?.model) return status.model.name;
  return sidecar.state === 'stopped' || status?.state === 'no-model' || status?.state === 'failed'
    ? 'No model'
    : 'Loading…';
}

declare global {
  interface HTMLElementTagNameMap {
    'gemma-composer': import('./composer.ts').GemmaComposer;
  }
}

customElements.define('gemma-chat', GemmaChat);
