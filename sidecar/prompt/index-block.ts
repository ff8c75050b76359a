/**
 * What the symbol index knows about the names in a question, as lines before it: where each is defined, what its comment
 * says, what a named file holds, who imports it. Facts stand next to the question, so that a model answers about places
 * without having to find them far above, also in files that did not fit. The form is shared to the byte with
 * training/pipeline/index_block.py.
 */

/** Order of the lines of one key. */
const KINDS = ['defined', 'says', 'holds', 'imported'] as const;
/** As an answer would put it, so that a small model answers by going on as the line does. */
const PHRASES = {
  defined: 'is defined in',
  says: 'says',
  holds: 'holds',
  imported: 'is imported in',
} as const;

export interface IndexPlace {
  /** What the question named. */
  readonly key: string;
  readonly kind: (typeof KINDS)[number];
  /** As the prompt shows it. */
  readonly path: string;
  /** 1-based. */
  readonly line: number;
  /** The source line, or the sentence of a comment. */
  readonly text: string;
}

/** The question names it as code, and the repository has no such definition, import or file. */
export interface IndexGap {
  readonly key: string;
  readonly kind: 'nowhere';
}

export type IndexFact = IndexPlace | IndexGap;

const MOST_LINES = 40;
const MOST_LINES_OF_KEY = 8;
/** With their answer they fit into the window of a small model's local layers. */
const MOST_LINES_OF_FILE = 16;
const LONGEST_TEXT = 160;
const LONGEST_HELD_TEXT = 64;

/** `Index:` and its lines, keys in order of appearance; empty without facts. No line feed at the end. */
export function indexBlock(facts: readonly IndexFact[]): string {
  if (facts.length === 0) return '';
  const groups = new Map<string, IndexFact[]>();
  for (const fact of facts) {
    const key = oneLine(fact.key);
    const group = groups.get(key);
    if (group) group.push(fact);
    else groups.set(key, [fact]);
  }
  const lines: string[] = [];
  let unsaid = 0;
  for (const [key, of] of groups) {
    if (lines.length >= MOST_LINES) {
      unsaid += of.length;
      continue;
    }
    const places = of.filter((fact) => fact.kind !== 'nowhere');
    if (places.length < of.length) lines.push(`\`${key}\` nowhere`);
    else lines.push(...linesOfKey(key, places, MOST_LINES - lines.length));
  }
  if (unsaid > 0) lines.push(`… ${unsaid} more`);
  return ['Index:', ...lines].join('\n');
}

/** At most `room` lines of facts, and one for each kind that was cut. */
function linesOfKey(key: string, facts: readonly IndexPlace[], room: number): string[] {
  const lines: string[] = [];
  let left = room;
  let leftOutsideFile = MOST_LINES_OF_KEY;
  for (const kind of KINDS) {
    const places = facts.filter((fact) => fact.kind === kind).sort(byPlace);
    const count = Math.min(places.length, left, kind === 'holds' ? MOST_LINES_OF_FILE : leftOutsideFile);
    left -= count;
    if (kind !== 'holds') leftOutsideFile -= count;
    for (const [index, place] of places.slice(0, count).entries())
      lines.push(lineOf(key, place, index === 0));
    if (places.length > count) lines.push(`\`${key}\` ${PHRASES[kind]} … ${places.length - count} more`);
  }
  return lines;
}

/** A place and its text; of the lines that a file holds only the first says in which file they are. */
function lineOf(key: string, { kind, path, line, text }: IndexPlace, first: boolean): string {
  const held = kind === 'holds';
  const place = held && !first ? '' : `\`${key}\` ${PHRASES[kind]} ${oneLine(path)}:`;
  return `${place}${line}| ${shortened(oneLine(text), held ? LONGEST_HELD_TEXT : LONGEST_TEXT)}`;
}

function byPlace(a: IndexPlace, b: IndexPlace): number {
  if (a.path !== b.path) return a.path < b.path ? -1 : 1;
  return a.line - b.line;
}

/** Line feeds and other control characters could pass for lines of the prompt. */
function oneLine(text: string): string {
  return text
    .replace(/[\t\n\v\f\r ]+/g, ' ')
    .trim()
    .replace(/\p{Cc}/gu, '\ufffd');
}

function shortened(text: string, longest: number): string {
  const characters = Array.from(text);
  return characters.length <= longest ? text : `${characters.slice(0, longest).join('').trimEnd()} …`;
}
