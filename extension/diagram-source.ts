/** What is known of a diagram's source by its name and text. Pure. */

import { inflateRawSync } from 'node:zlib';
import type { DiagramLanguage } from '../webview/messages.ts';

/** Sources that can be drawn. */
export type DiagramKind = DiagramLanguage | 'svg';

const KINDS: Readonly<Record<string, DiagramKind>> = {
  mmd: 'mermaid',
  mermaid: 'mermaid',
  puml: 'plantuml',
  plantuml: 'plantuml',
  drawio: 'drawio',
  dio: 'drawio',
  svg: 'svg',
};

/** By the extension of a file, or by the language of a block in Markdown; null for anything else. */
export function diagramKind(name: string): DiagramKind | null {
  return KINDS[name.toLowerCase().replace(/^.*[.]/, '')] ?? null;
}

/** All pages of a draw.io file together unpack to at most this; what is beyond stays packed. */
const MAX_UNPACKED_BYTES = 8 * 2 ** 20;

/** A draw.io file with its pages in plain XML; draw.io deflates each page and writes it in base64. */
export function plainDrawio(file: string): string {
  let left = MAX_UNPACKED_BYTES;
  return file.replace(
    /(<diagram\b[^>]*>)\s*([A-Za-z0-9+/=\s]+?)\s*(<\/diagram>)/g,
    (whole, open, packed, close) => {
      try {
        const bytes = inflateRawSync(Buffer.from(packed, 'base64'), { maxOutputLength: left });
        left -= bytes.length;
        return `${open}${decodeURIComponent(bytes.toString('utf8'))}${close}`;
      } catch {
        return whole;
      }
    },
  );
}

export interface DrawioPage {
  /** As its tab in draw.io is called; empty where it has no name. */
  readonly name: string;
  /** XML of the page, or what could not be unpacked. */
  readonly source: string;
}

/** Pages of an unpacked draw.io file, which may also be one page without a file around it. */
export function drawioPages(plain: string): DrawioPage[] {
  const attributes = String.raw`(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*`;
  const pages = [...plain.matchAll(new RegExp(`<diagram(${attributes})>([\\s\\S]*?)</diagram>`, 'g'))];
  if (pages.length === 0) return [{ name: '', source: plain }];
  return pages.map(([, tag = '', source = '']) => {
    const [, double, single] = /\sname\s*=\s*(?:"([^"]*)"|'([^']*)')/.exec(tag) ?? [];
    return { name: withoutReferences(double ?? single ?? ''), source };
  });
}

const REFERENCES: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

function withoutReferences(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (whole, name: string) => REFERENCES[name] ?? whole);
}

/** A draw.io file as a model reads it: the bytes of pictures inside say nothing to it. */
export function withoutPictureBytes(plain: string): string {
  return plain.replace(/data:(image\/[\w.+-]+)(?:;base64)?,[A-Za-z0-9+/=%]{64,}/g, 'data:$1,…');
}

/** A diagram within a Markdown text: its source and the lines of it, from 0, inclusive. */
export interface DiagramBlock {
  readonly kind: Exclude<DiagramLanguage, 'drawio'>;
  readonly firstLine: number;
  readonly lastLine: number;
}

/** Fenced blocks of diagram languages that are drawn. `lineAt` gives a line's text. */
export function diagramBlocks(lineCount: number, lineAt: (line: number) => string): DiagramBlock[] {
  const blocks: DiagramBlock[] = [];
  for (let line = 0; line < lineCount; line++) {
    const opened = /^ {0,3}(`{3,}|~{3,})\s*(\w*)/.exec(lineAt(line));
    if (opened === null) continue;
    const fence = opened[1] ?? '';
    const kind = diagramKind(opened[2] ?? '');
    const firstLine = line + 1;
    do line++;
    while (line < lineCount && !closes(lineAt(line), fence));
    if ((kind === 'mermaid' || kind === 'plantuml') && line < lineCount && line > firstLine)
      blocks.push({ kind, firstLine, lastLine: line - 1 });
  }
  return blocks;
}

function closes(line: string, fence: string): boolean {
  const text = line.trim();
  return text.length >= fence.length && [...text].every((character) => character === fence[0]);
}

/** As PlantUML wants it: a block in Markdown may leave out the first and last line. */
export function plantumlSource(text: string): string {
  return /^\s*@start/m.test(text) ? text : `@startuml\n${text}\n@enduml`;
}
