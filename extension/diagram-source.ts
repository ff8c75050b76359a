/** What is known of a diagram's source by its name and text. Pure. */

import { inflateRawSync } from 'node:zlib';
import type { DiagramLanguage } from '../webview/messages.ts';

/** Sources that can be drawn; draw.io has no renderer that could be bundled, and goes as text alone. */
export type DiagramKind = DiagramLanguage | 'svg' | 'drawio';

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

/** A diagram's page in a draw.io file unpacks to at most this. */
const MAX_PAGE_BYTES = 4 * 2 ** 20;

/** A draw.io file with its pages in plain XML; draw.io deflates each page and writes it in base64. */
export function plainDrawio(file: string): string {
  return file.replace(
    /(<diagram\b[^>]*>)\s*([A-Za-z0-9+/=\s]+?)\s*(<\/diagram>)/g,
    (whole, open, packed, close) => {
      try {
        const bytes = inflateRawSync(Buffer.from(packed, 'base64'), { maxOutputLength: MAX_PAGE_BYTES });
        return `${open}${decodeURIComponent(bytes.toString('utf8'))}${close}`;
      } catch {
        return whole;
      }
    },
  );
}

/** A diagram within a Markdown text: its source and the lines of it, from 0, inclusive. */
export interface DiagramBlock {
  readonly kind: DiagramLanguage;
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
