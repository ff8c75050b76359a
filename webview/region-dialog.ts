/** Choosing the part of a picture that is sent, by pointer or by keyboard. */

import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import '@vscode-elements/elements/dist/vscode-button/index.js';
import { thumbnailOf } from './decode-picture.ts';
import { clampRegion, type Region } from './picture.ts';
import { send } from './port.ts';
import { sharedStyles } from './shared-styles.ts';
import { count } from './wording.ts';

export interface ShownPixels {
  readonly key: string;
  readonly width: number;
  readonly height: number;
  readonly rgba: ArrayBuffer;
}

/** A step of the arrow keys, as a part of the picture's side. */
const KEY_STEP = 0.02;

const HELP_WHOLE = 'Drag over the part to send, or hold Shift and press the arrow keys to make it smaller.';
const HELP_PART = 'Arrow keys move the part, with Shift they change its size. Enter sends it.';

export class GemmaRegionDialog extends LitElement {
  static override properties = {
    pixels: { attribute: false },
    region: { attribute: false },
    chosen: { state: true },
  };

  declare pixels: ShownPixels;
  /** What is sent now; null is the whole picture. */
  declare region: Region | null;
  declare chosen: Region;
  #dragFrom: { readonly x: number; readonly y: number } | null = null;

  override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has('pixels')) return;
    const { width, height } = this.pixels;
    this.chosen = this.region ?? { x: 0, y: 0, width, height };
  }

  override firstUpdated(): void {
    const canvas = this.renderRoot.querySelector('canvas');
    const dialog = this.renderRoot.querySelector('dialog');
    if (canvas === null || dialog === null) return;
    const { width, height, rgba } = this.pixels;
    canvas.getContext('2d')?.putImageData(new ImageData(new Uint8ClampedArray(rgba), width, height), 0, 0);
    dialog.showModal();
    this.renderRoot.querySelector<HTMLElement>('.stage')?.focus();
  }

  override render() {
    const { width, height } = this.pixels;
    const { chosen } = this;
    const whole = this.#isWhole;
    const size = `${count(chosen.width)} × ${count(chosen.height)} pixels at ${count(chosen.x)}, ${count(chosen.y)}`;
    return html`
      <dialog aria-label="Choose the part to send" @close=${this.#closed} data-testid="region-dialog">
        <p id="help" class="quiet">${whole ? HELP_WHOLE : HELP_PART}</p>
        <div
          class="stage"
          tabindex="0"
          role="group"
          aria-label="Part to send: ${whole ? 'the whole picture' : size}"
          aria-describedby="help"
          data-testid="region-stage"
          @pointerdown=${this.#down}
          @pointermove=${this.#moved}
          @pointerup=${this.#up}
          @keydown=${this.#key}
        >
          <canvas width=${width} height=${height}></canvas>
          <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true">
            <path
              class="shade"
              fill-rule="evenodd"
              d="M0 0H${width}V${height}H0Z M${chosen.x} ${chosen.y}h${chosen.width}v${chosen.height}h${-chosen.width}z"
            ></path>
            <rect class="frame" x=${chosen.x} y=${chosen.y} width=${chosen.width} height=${chosen.height}></rect>
          </svg>
        </div>
        <p class="size" role="status">${whole ? 'The whole picture' : size}</p>
        <div class="buttons">
          <vscode-button data-testid="use-region" @click=${() => this.#use(whole ? null : chosen)}>
            ${whole ? 'Send all of it' : 'Send this part'}
          </vscode-button>
          ${
            whole
              ? nothing
              : html`<vscode-button secondary @click=${() => this.#select(0, 0, width, height)}>Whole picture</vscode-button>`
          }
          <vscode-button secondary @click=${() => this.renderRoot.querySelector('dialog')?.close()}>Cancel</vscode-button>
        </div>
      </dialog>
    `;
  }

  get #isWhole(): boolean {
    return this.chosen.width === this.pixels.width && this.chosen.height === this.pixels.height;
  }

  #closed(): void {
    this.dispatchEvent(new CustomEvent('gemma-region-closed'));
  }

  async #use(region: Region | null): Promise<void> {
    const canvas = this.renderRoot.querySelector('canvas');
    if (canvas === null) return;
    const { key, width, height } = this.pixels;
    const thumbnail = await thumbnailOf(canvas, region ?? { x: 0, y: 0, width, height });
    void send({ type: 'choose-region', key, region, thumbnail }).catch(() => {});
    this.renderRoot.querySelector('dialog')?.close();
  }

  /** In pixels of the picture, within it. */
  #place(event: PointerEvent): { readonly x: number; readonly y: number } {
    const box = this.renderRoot.querySelector('canvas')?.getBoundingClientRect();
    if (box === undefined || box.width === 0 || box.height === 0) return { x: 0, y: 0 };
    const within = (value: number, most: number) => Math.round(Math.max(0, Math.min(1, value)) * most);
    return {
      x: within((event.clientX - box.left) / box.width, this.pixels.width),
      y: within((event.clientY - box.top) / box.height, this.pixels.height),
    };
  }

  #down(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.#dragFrom = this.#place(event);
    if (event.currentTarget instanceof Element) event.currentTarget.setPointerCapture(event.pointerId);
  }

  #moved(event: PointerEvent): void {
    const from = this.#dragFrom;
    if (from === null) return;
    const to = this.#place(event);
    this.#select(
      Math.min(from.x, to.x),
      Math.min(from.y, to.y),
      Math.abs(to.x - from.x),
      Math.abs(to.y - from.y),
    );
  }

  #up(): void {
    this.#dragFrom = null;
  }

  #key(event: KeyboardEvent): void {
    const { width, height } = this.pixels;
    if (event.key === 'Enter') {
      event.preventDefault();
      void this.#use(this.#isWhole ? null : this.chosen);
      return;
    }
    const [right, down] = DIRECTIONS[event.key] ?? [0, 0];
    if (right === 0 && down === 0) return;
    event.preventDefault();
    const [dx, dy] = [Math.round(right * width * KEY_STEP), Math.round(down * height * KEY_STEP)];
    const { chosen } = this;
    if (event.shiftKey) this.#select(chosen.x, chosen.y, chosen.width + dx, chosen.height + dy);
    else
      this.#select(
        Math.max(0, Math.min(width - chosen.width, chosen.x + dx)),
        Math.max(0, Math.min(height - chosen.height, chosen.y + dy)),
        chosen.width,
        chosen.height,
      );
  }

  /** What is too small to be a part is not chosen; the last choice stays. */
  #select(x: number, y: number, width: number, height: number): void {
    const all = { x: 0, y: 0, width: this.pixels.width, height: this.pixels.height };
    if (x <= 0 && y <= 0 && width >= all.width && height >= all.height) this.chosen = all;
    else this.chosen = clampRegion({ x, y, width, height }, all.width, all.height) ?? this.chosen;
  }

  static override styles = [
    sharedStyles,
    css`
      dialog {
        display: flex;
        flex-direction: column;
        gap: 8px;
        max-width: calc(100vw - 16px);
        max-height: calc(100vh - 16px);
        padding: 12px;
        border: 1px solid var(--vscode-contrastBorder, var(--vscode-widget-border, transparent));
        border-radius: 8px;
        background: var(--vscode-editorWidget-background);
        color: var(--vscode-editorWidget-foreground);
      }

      dialog:not([open]) {
        display: none;
      }

      dialog::backdrop {
        background: rgb(0 0 0 / 50%);
      }

      p {
        margin: 0;
        line-height: 1.4;
      }

      .stage {
        position: relative;
        align-self: center;
        display: flex;
        max-width: 100%;
        min-height: 0;
        cursor: crosshair;
        touch-action: none;
        user-select: none;
      }

      canvas {
        display: block;
        max-width: 100%;
        max-height: calc(100vh - 150px);
        background: #fff;
      }

      svg {
        position: absolute;
        inset: 0;
        width: 100%;
        height: 100%;
      }

      .shade {
        fill: rgb(0 0 0 / 55%);
      }

      .frame {
        fill: none;
        stroke: var(--vscode-focusBorder);
        stroke-width: 2;
        vector-effect: non-scaling-stroke;
      }

      .size {
        font-variant-numeric: tabular-nums;
      }

      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 6px;
      }
    `,
  ];
}

const DIRECTIONS: Readonly<Record<string, readonly [right: number, down: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

customElements.define('gemma-region-dialog', GemmaRegionDialog);
