/** The context panel: a treemap of what fills the window, then memory, disk and changes. Pictures before numbers. */

import { html, LitElement, nothing, svg, type TemplateResult } from 'lit';
import type { ContextChoice, ContextNode, ContextReport } from '../sidecar/protocol/context-types.ts';
import type { ContextHostMessage, ContextPageMessage } from './context-messages.ts';
import { contextStyles } from './context-styles.ts';
import {
  folderAt,
  folderTrail,
  inWindow,
  isMostlyLeftOut,
  nodeWords,
  STATE_LABELS,
  STATES,
  type Tile,
  tilesOf,
  totalTokens,
  windowParts,
} from './context-tiles.ts';
import { icon } from './icons.ts';
import { sharedStyles } from './shared-styles.ts';
import { byteSize, count, counted, LEFT_OUT_REASONS, tokenCapacity } from './wording.ts';

declare function acquireVsCodeApi(): { postMessage(message: ContextPageMessage): void };

const MAP_HEIGHT_PX = 420;
const MIN_LABEL = { width: 34, height: 14 };

export class GemmaContext extends LitElement {
  static override properties = {
    report: { state: true },
    choice: { state: true },
    problem: { state: true },
    folder: { state: true },
    selected: { state: true },
    asTable: { state: true },
    hideLeftOut: { state: true },
    mapWidth: { state: true },
  };

  declare report: ContextReport | null;
  declare choice: ContextChoice;
  declare problem: string;
  /** Path of the folder that is shown. */
  declare folder: string;
  /** Path and kind of the tile that the details are about; null when none is. */
  declare selected: ContextNode | null;
  declare asTable: boolean;
  /** Null until the person has chosen: then as it shows more. */
  declare hideLeftOut: boolean | null;
  declare mapWidth: number;
  readonly #host = acquireVsCodeApi();
  readonly #resized = new ResizeObserver(([entry]) => {
    this.mapWidth = Math.floor(entry?.contentRect.width ?? 0);
  });

  constructor() {
    super();
    this.report = null;
    this.choice = { pinned: [], dropped: [] };
    this.problem = '';
    this.folder = '';
    this.selected = null;
    this.asTable = false;
    this.hideLeftOut = null;
    this.mapWidth = 0;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener('message', (event: MessageEvent<ContextHostMessage>) =>
      this.#receive(event.data),
    );
    this.#host.postMessage({ type: 'ready' });
  }

  override updated(): void {
    const map = this.renderRoot.querySelector('.map');
    if (map !== null) this.#resized.observe(map);
  }

  override render() {
    const { report, problem } = this;
    return html`<main>
      <header>
        <h1>Context</h1>
        <span class="gap"></span>
        <button type="button" class="text-button" data-testid="add" @click=${() => this.#host.postMessage({ type: 'add' })}>
          ${icon('pin')} Pin another file…
        </button>
        <button
          type="button"
          class="text-button"
          data-testid="hide-left-out"
          aria-pressed=${this.#hidesLeftOut}
          @click=${() => {
            this.hideLeftOut = !this.#hidesLeftOut;
          }}
        >
          ${icon('eye-closed')} Hide what is left out
        </button>
        <button
          type="button"
          class="text-button"
          data-testid="as-table"
          aria-pressed=${this.asTable}
          @click=${() => {
            this.asTable = !this.asTable;
          }}
        >
          ${icon('list-flat')} Table
        </button>
        <button
          type="button"
          class="icon-button"
          title="Refresh"
          aria-label="Refresh"
          @click=${() => this.#host.postMessage({ type: 'refresh' })}
        >
          ${icon('refresh')}
        </button>
      </header>
      ${problem === '' ? nothing : html`<p role="alert" data-testid="problem">${problem}</p>`}
      ${report === null ? (problem === '' ? html`<p class="quiet" role="status">Looking at the workspace</p>` : nothing) : this.#report(report)}
    </main>`;
  }

  #receive(message: ContextHostMessage): void {
    if (message.type === 'problem') {
      this.problem = message.message;
      return;
    }
    this.problem = '';
    if (message.type === 'reading-ahead') {
      if (this.report) this.report = { ...this.report, readingAhead: message.progress };
      return;
    }
    this.report = message.report;
    this.choice = message.choice;
    const { selected } = this;
    this.selected = selected && findNode(message.report.root, selected.path, selected.kind);
  }

  #report(report: ContextReport): TemplateResult {
    const root = this.#hidesLeftOut ? inWindow(report.root) : report.root;
    const shown = folderAt(root, this.folder);
    const { readingAhead } = report;
    return html`
      ${windowBar(report)}
      ${this.#trail(root)}
      ${this.asTable ? this.#table(shown) : this.#map(shown)}
      ${this.#details()}
      <section class="columns">${memorySection(report)} ${diskSection(report)} ${journalSection(report)}</section>
      ${readingAhead === undefined ? nothing : html`<p class="quiet" data-testid="reading-ahead">Reading ahead: ${count(readingAhead.done)} of ${counted(readingAhead.total, 'token')}</p>`}
      ${report.notes.map((note) => html`<p class="quiet">${note}</p>`)}
    `;
  }

  get #hidesLeftOut(): boolean {
    return this.hideLeftOut ?? (this.report !== null && isMostlyLeftOut(this.report.root));
  }

  #trail(root: ContextNode): TemplateResult {
    const trail = folderTrail(root, this.folder);
    return html`<nav aria-label="Folder">
      <span class="trail">
        ${trail.map(
          (node, index) => html`${index > 0 ? html`<span class="quiet">/</span>` : nothing}<button
              type="button"
              class="link"
              aria-current=${index === trail.length - 1 ? 'true' : nothing}
              @click=${() => this.#show(node)}
            >
              ${node.name || 'Workspace'}
            </button>`,
        )}
      </span>
      <span class="gap"></span>
      <span class="legend">
        ${STATES.map((state) => html`<span><span class="swatch ${state}"></span>${STATE_LABELS[state]}</span>`)}
      </span>
    </nav>`;
  }

  #show(node: ContextNode): void {
    this.folder = node.path;
    this.selected = node.path === '' ? null : node;
  }

  #map(folder: ContextNode): TemplateResult {
    const width = this.mapWidth;
    const tiles = width > 0 ? tilesOf(folder, { x: 0, y: 0, width, height: MAP_HEIGHT_PX }) : [];
    return html`<div class="map" @keydown=${this.#move}>
      <svg
        width=${width}
        height=${MAP_HEIGHT_PX}
        role="group"
        aria-label="What fills the window, by folder and file; the table says the same in words"
        data-testid="map"
      >
        <defs>
          <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <line class="hatch" x1="0" y1="0" x2="0" y2="6"></line>
          </pattern>
          <pattern id="dots" width="6" height="6" patternUnits="userSpaceOnUse">
            <circle class="dot" cx="3" cy="3" r="1"></circle>
          </pattern>
        </defs>
        ${tiles.map((tile, index) => this.#tile(tile, index))}
      </svg>
    </div>`;
  }

  #tile(tile: Tile, index: number) {
    const { node, box, isFrame } = tile;
    const selected = this.selected?.path === node.path && this.selected.kind === node.kind;
    const select = () => {
      this.selected = node;
    };
    const open = () => this.#open(node);
    const label =
      node.kind === 'rest'
        ? `${count(node.files)} more`
        : `${node.name}${node.pinned === true ? ' (pinned)' : ''}`;
    const hasLabel = box.width >= MIN_LABEL.width && box.height >= MIN_LABEL.height;
    return svg`<svg
      class="tile ${isFrame ? 'frame' : ''} ${selected ? 'selected' : ''}"
      x=${box.x} y=${box.y} width=${Math.max(0, box.width - 1)} height=${Math.max(0, box.height - 1)}
      tabindex=${index === 0 ? 0 : -1}
      role="button"
      aria-pressed=${selected}
      aria-label=${nodeWords(node)}
      data-testid="tile"
      data-path=${node.path}
      @click=${select}
      @focus=${select}
      @dblclick=${open}
    >
      <title>${nodeWords(node)}</title>
      ${isFrame ? svg`<rect class="ground" width="100%" height="100%"></rect>` : stateRects(node)}
      <rect class="edge" width="100%" height="100%"></rect>
      ${hasLabel ? svg`<text x="4" y="12">${label}</text>` : nothing}
    </svg>`;
  }

  #open(node: ContextNode): void {
    if (node.kind === 'file') this.#host.postMessage({ type: 'open-file', path: node.path });
    else if (node.kind === 'folder') this.#show(node);
  }

  /** Arrow keys go from tile to tile in order of size, Enter opens, Backspace goes up. */
  #move(event: KeyboardEvent): void {
    const tiles = [...this.renderRoot.querySelectorAll<SVGElement>('.tile')];
    const at = tiles.findIndex((tile) => tile.matches(':focus'));
    const steps: Readonly<Record<string, number>> = {
      ArrowRight: 1,
      ArrowDown: 1,
      ArrowLeft: -1,
      ArrowUp: -1,
    };
    const step = steps[event.key];
    if (step !== undefined && at >= 0) tiles[Math.max(0, Math.min(tiles.length - 1, at + step))]?.focus();
    else if (event.key === 'Enter' && this.selected !== null) this.#open(this.selected);
    else if (event.key === 'Backspace') this.folder = this.folder.replace(/\/?[^/]*\/?$/, '');
    else return;
    event.preventDefault();
  }

  #details(): TemplateResult {
    const node = this.selected;
    if (node === null)
      return html`<div class="details quiet" role="status">Choose a file or folder to pin it, drop it, or look into it.</div>`;
    return html`<div class="details" role="status" data-testid="details">
      <span class="words">${nodeWords(node)}</span>
      <span class="gap"></span>
      ${node.kind === 'rest' ? nothing : this.#choices(node)}
      ${
        node.kind === 'rest'
          ? nothing
          : html`<button type="button" class="text-button" @click=${() => this.#open(node)}>
              ${icon(node.kind === 'folder' ? 'zoom-in' : 'go-to-file')} ${node.kind === 'folder' ? 'Look into' : 'Open'}
            </button>`
      }
    </div>`;
  }

  #choices(node: ContextNode): TemplateResult {
    const now = this.choice.pinned.includes(node.path)
      ? 'pinned'
      : this.choice.dropped.includes(node.path)
        ? 'dropped'
        : null;
    const choose = (choice: 'pinned' | 'dropped') =>
      this.#host.postMessage({ type: 'choose', path: node.path, choice: now === choice ? null : choice });
    return html`
      <button type="button" class="text-button" data-testid="pin" aria-pressed=${now === 'pinned'} @click=${() => choose('pinned')}>
        ${icon('pin')} ${now === 'pinned' ? 'Unpin' : 'Pin'}
      </button>
      <button type="button" class="text-button" data-testid="drop" aria-pressed=${now === 'dropped'} @click=${() => choose('dropped')}>
        ${icon('circle-slash')} ${now === 'dropped' ? 'Do not drop' : 'Drop'}
      </button>
    `;
  }

  #table(folder: ContextNode): TemplateResult {
    const children = [...(folder.children ?? [])].sort((a, b) => totalTokens(b) - totalTokens(a));
    return html`<div class="table-frame"><table data-testid="table">
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col" class="number">Tokens</th>
          ${STATES.map((state) => html`<th scope="col" class="number">${STATE_LABELS[state]}</th>`)}
          <th scope="col">Why left out</th>
          <th scope="col"><span class="visually-hidden">Actions</span></th>
        </tr>
      </thead>
      <tbody>
        ${children.map(
          (node) => html`<tr>
            <th scope="row">
              <button type="button" class="link" ?disabled=${node.kind === 'rest'} @click=${() => this.#open(node)}>
                ${icon(node.kind === 'folder' ? 'folder' : 'file')}
                ${node.kind === 'rest' ? counted(node.files, 'small file') : node.name}
              </button>
            </th>
            <td class="number">${count(totalTokens(node))}</td>
            ${STATES.map((state) => html`<td class="number">${node.tokens[state] > 0 ? count(node.tokens[state]) : ''}</td>`)}
            <td>${node.reason === undefined ? '' : LEFT_OUT_REASONS[node.reason]}</td>
            <td class="actions">${node.kind === 'rest' ? nothing : this.#choices(node)}</td>
          </tr>`,
        )}
      </tbody>
    </table></div>`;
  }

  static override styles = [sharedStyles, contextStyles];
}

/** A tile by its states, side by side. */
function stateRects(node: ContextNode) {
  const total = totalTokens(node);
  let offset = 0;
  return STATES.filter((state) => node.tokens[state] > 0).map((state) => {
    const width = total > 0 ? (node.tokens[state] / total) * 100 : 0;
    const x = offset;
    offset += width;
    const pattern = state === 'left-out' ? 'hatched' : state === 'outlined' ? 'dotted' : '';
    return svg`<rect class="fill ${state}" x="${x}%" width="${width}%" height="100%"></rect>
      ${pattern === '' ? nothing : svg`<rect class=${pattern} x="${x}%" width="${width}%" height="100%"></rect>`}`;
  });
}

function windowBar(report: ContextReport): TemplateResult {
  const parts = windowParts(report);
  const used = parts.filter(({ name }) => name !== 'free').reduce((sum, { tokens }) => sum + tokens, 0);
  const percent = report.contextLength > 0 ? Math.round((used / report.contextLength) * 100) : 0;
  return html`<section class="window" data-testid="window">
    ${shareBar(parts, report.contextLength)}
    <p>
      <strong>${percent} % of ${tokenCapacity(report.contextLength)} tokens</strong>
      ${parts.map((part) => html`<span><span class="swatch ${part.name}"></span>${part.label} ${count(part.tokens)}</span>`)}
    </p>
  </section>`;
}

function shareBar(
  parts: readonly { readonly name: string; readonly tokens: number }[],
  total: number,
): TemplateResult {
  let offset = 0;
  const placed = parts.map(({ name, tokens }) => {
    const width = total > 0 ? (tokens / total) * 100 : 0;
    const x = offset;
    offset += width;
    return { name, x, width };
  });
  return html`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    ${placed.map(({ name, x, width }) => svg`<rect class="fill ${name}" x=${x} width=${width} height="8"></rect>`)}
  </svg>`;
}

const KV_NAMES: Readonly<Record<string, string>> = {
  f16: 'Global, full precision',
  int8: 'Global, 8 bit',
  int4: 'Global, 4 bit',
  local: 'Sliding windows',
  kept: 'Kept windows',
};

function memorySection({ kv }: ContextReport): TemplateResult {
  const used = kv.used.reduce((sum, { bytes }) => sum + bytes, 0);
  return html`<section data-testid="memory">
    <h2>Memory for the context</h2>
    ${kv.used.map(
      ({ kind, bytes }) => html`<div class="row">
        <span>${KV_NAMES[kind] ?? kind}</span>${gauge(bytes, kv.reserved)}<span class="number">${byteSize(bytes)}</span>
      </div>`,
    )}
    <p class="quiet">${byteSize(used)} of ${byteSize(kv.reserved)} set aside</p>
  </section>`;
}

function diskSection({ disk }: ContextReport): TemplateResult | typeof nothing {
  if (disk === undefined) return nothing;
  return html`<section data-testid="disk">
    <h2>Disk</h2>
    <div class="row">
      <span>Kept reading</span>${gauge(disk.bytes, disk.limit)}<span class="number">${byteSize(disk.bytes)}</span>
    </div>
    <p class="quiet">at most ${byteSize(disk.limit)}; <em>Gemma: Clear Cache</em> deletes it</p>
  </section>`;
}

function journalSection({ journal }: ContextReport): TemplateResult | typeof nothing {
  if (journal.length === 0) return nothing;
  return html`<section data-testid="journal">
    <h2>Changed since it was read</h2>
    <ul>
      ${journal.map(
        ({ path, change, tokens }) =>
          html`<li><span class="path" title=${path}>${path}</span> <span class="quiet">${change}, ${counted(tokens, 'token')}</span></li>`,
      )}
    </ul>
  </section>`;
}

function gauge(value: number, most: number): TemplateResult {
  return html`<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <rect class="fill kept" width=${most > 0 ? Math.min(100, (value / most) * 100) : 0} height="8"></rect>
  </svg>`;
}

function findNode(root: ContextNode, path: string, kind: ContextNode['kind']): ContextNode | null {
  if (root.path === path && root.kind === kind) return root;
  for (const child of root.children ?? []) {
    const found = findNode(child, path, kind);
    if (found !== null) return found;
  }
  return null;
}

customElements.define('gemma-context', GemmaContext);
