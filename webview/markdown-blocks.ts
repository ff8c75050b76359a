/**
 * Streamed Markdown as a list of blocks. Only the last block can still change, so all before it are drawn once and
 * kept: that is why a long answer neither flickers nor slows down.
 */

import MarkdownIt from 'markdown-it';

export type Block =
  | { readonly kind: 'prose'; readonly source: string }
  | { readonly kind: 'code'; readonly language: string; readonly code: string };

/** Raw HTML stays text and pictures stay links: an answer cannot make the page load anything. */
export const markdown = new MarkdownIt({ html: false, linkify: false, typographer: false }).disable('image');

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
    const last = found.at(-1);
    if (last === undefined) return [...this.#settled];
    for (const { block } of found.slice(0, -1)) this.#settled.push(block);
    this.#offset += last.start;
    return [...this.#settled, last.block];
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
        ? { kind: 'code', language: token.info.trim().split(/\s+/)[0] ?? '', code: token.content }
        : { kind: 'prose', source };
    blocks.push({ block, start });
  }
  return blocks;
}

function lineOffsets(text: string): number[] {
  const offsets = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) offsets.push(at + 1);
  return offsets;
}
