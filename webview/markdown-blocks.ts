/**
 * Streamed Markdown as a list of blocks. Only the last two can still change (the `2` after a list becomes its next item
 * when its dot arrives), so all before them are drawn once and kept: a long answer neither flickers nor slows down.
 */

import MarkdownIt from 'markdown-it';

export type Block =
  | { readonly kind: 'prose'; readonly source: string }
  | { readonly kind: 'code'; readonly language: string; readonly code: string };

/** Raw HTML stays text and pictures stay links: an answer cannot make the page load anything. */
export const markdown = new MarkdownIt({
  html: false,
  linkify: false,
  typographer: false,
  // A model that ends a line means it: lists without marks, lines of a drawing.
  breaks: true,
}).disable('image');

/** Cuts a growing text into blocks, looking again only at what can still change. */
export class BlockStream {
  #text = '';
  #settled: Block[] = [];
  /** Where in `#text` the first unsettled block begins. */
  #offset = 0;

  /** The blocks of `text`; the same objects as last time for blocks that have not changed. */
  update(text: string): readonly Block[] {
    if (!text.startsWith(this.#text)) {
      this.#settled = [];
      this.#offset = 0;
    }
    this.#text = text;
    const rest = text.slice(this.#offset);
    const found = splitBlocks(rest);
    const open = found.splice(-2);
    for (const { block } of found) this.#settled.push(block);
    this.#offset += open[0]?.start ?? 0;
    return [...this.#settled, ...open.map(({ block }) => block)];
  }
}

interface PlacedBlock {
  readonly block: Block;
  /** Offset of its first line in the text. */
  readonly start: number;
}

function splitBlocks(text: string): PlacedBlock[] {
  const lines = lineOffsets(text);
  const blocks: PlacedBlock[] = [];
  for (const token of markdown.parse(text, {})) {
    if (token.level !== 0 || token.map === null || token.nesting < 0) continue;
    const start = lines[token.map[0]] ?? text.length;
    const source = text.slice(start, lines[token.map[1]] ?? text.length);
    const block: Block =
      token.type === 'fence'
        ? { kind: 'code', language: languageOf(token.info, source), code: token.content }
        : { kind: 'prose', source };
    blocks.push({ block, start });
  }
  return blocks;
}

/** Until its line has ended, the name of a language may be half of one. */
function languageOf(info: string, source: string): string {
  return source.includes('\n') ? (info.trim().split(/\s+/)[0] ?? '') : '';
}

function lineOffsets(text: string): number[] {
  const offsets = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) offsets.push(at + 1);
  return offsets;
}
