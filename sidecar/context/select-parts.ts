/** Chooses the parts of files most relevant to a question that fit a budget, and lays them out in the files' own order. */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { ContextFullError } from '../prompt/budget.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import { type PromptFile, withoutFinalLineFeeds } from '../prompt/file-block.ts';
import { type Chunk, chunksOf, headingOf } from './chunks.ts';
import type { SourceFile } from './files.ts';
import { linkedScores } from './links.ts';
import { packedOutline } from './outline.ts';
import { type PackedFile, packedPart } from './packed-file.ts';
import { kindWeights } from './path-kind.ts';
import { type Query, queryOf } from './question.ts';
import { type Passage, passageOf, scoreInSlices } from './relevance.ts';
import { inSlices, sortedInSlices } from './slices.ts';
import type { FileSymbols } from './symbols/extract.ts';

/** What a person is likely to be about, beside the words of the question. */
export interface Attention {
  /** The file in front, and those that are open. */
  readonly active: string | null;
  readonly open: ReadonlySet<string>;
  /** From 0, changed long ago or never, to 1, changed last. */
  readonly recency: ReadonlyMap<string, number>;
}

export const NO_ATTENTION: Attention = { active: null, open: new Set(), recency: new Map() };

export interface Selection {
  readonly files: readonly PackedFile[];
  /** False if no word of the question occurs in any file, so that this choice is no better than another. */
  readonly matches: boolean;
  /** The few parts that matter most, for telling whether another selection would serve as well. */
  readonly best: readonly PromptFile[];
}

/** What was pinned does not fit; `pinned` says what each takes. */
export class PinnedTooLarge extends ContextFullError {
  constructor(pinned: readonly PackedFile[], tokens: number, budget: number) {
    super(
      'The pinned files take',
      tokens,
      budget,
      'Unpin some of them.',
      pinned.map(({ path, tokens }) => ({ kind: 'pin', name: path, tokens })),
    );
  }
}

interface Part {
  readonly file: SourceFile;
  readonly chunk: Chunk;
  /** Place in the stable order. */
  readonly fileIndex: number;
  readonly score: number;
}

/** Only the most relevant files are cut into parts; a file that is not among them would not be chosen. */
const FILES_CUT = 200;
const CHARACTERS_PER_TOKEN = 3;
/** Found with bench/retrieval.ts, like the weights below. */
const PARTS_AIMED_AT = 10;
const SMALLEST_PART = 100;
const LARGEST_PART = 400;
/** Parts scoring less than this share of the best one mislead more than they help. */
const SCORE_FLOOR = 0.15;
const BEST = 3;
/** Files whose imports are looked at, and what a file owes to the best hit that it is linked with. */
const FILES_LINKED = 60;
const LINKED = 0.1;
/** Tokens that the best parts may have all of, and the share of what is beyond that is set aside for outlines. */
const ENOUGH_FOR_PARTS = 6144;
const OUTLINE_SHARE = 1 / 4;
/** Files outlined at most; ones in a row that do not fit, or define nothing, before it is given up. */
const FILES_OUTLINED = 120;
const MISSES = 12;
const SMALLEST_OUTLINE = 24;
/** Factors for what a person has in front, open, or changed last. */
const ACTIVE = 1.25;
const OPEN = 1.1;
const RECENT = 0.1;
/** Less than any real match, so that it only decides where nothing matches. */
const INTRODUCES = 0.003;
/** A part of a file that is about the question is worth more than the same words elsewhere. */
const FILE_SHARE = 0.4;
/** What a part owes to its better neighbour: one that it goes on with, or one that merely stands beside it. */
const CONTINUED = 0.8;
const ADJACENT = 0.5;

export async function selectParts(
  ordered: readonly SourceFile[],
  request: {
    readonly tokenizer: Tokenizer;
    readonly budget: number;
    readonly question: readonly string[];
    readonly attention: Attention;
    readonly symbols: (file: SourceFile) => Promise<FileSymbols>;
    /** A score for each of these files, which are all there are. */
    readonly scores: (files: readonly SourceFile[], query: Query) => Promise<Float64Array>;
    /** Taken whole, before anything else. */
    readonly pinned?: readonly SourceFile[];
    readonly signal?: AbortSignal;
  },
): Promise<Selection> {
  const { tokenizer, budget, pinned = [] } = request;
  const first = pinned.map((file) => packedPart(tokenizer, file, { path: file.path, text: file.text }));
  const firstTokens = first.reduce((sum, file) => sum + file.tokens, 0);
  if (firstTokens > budget) throw new PinnedTooLarge(first, firstTokens, budget);
  const taken = new Set(pinned);
  const ranked = await rankedParts(ordered, request);
  const parts = ranked.parts.filter(({ file }) => !taken.has(file));
  const forParts = budget - outlineReserve(budget);
  const chosen: Part[] = [];
  let used = firstTokens;
  for (const part of parts) {
    const cost = encodeFile(tokenizer, promptPart(part.file, [part])).length;
    if (used + cost > forParts) continue;
    chosen.push(part);
    used += cost;
  }
  // Joining neighbours saves headers, and so hardly ever costs; if it does, the least relevant part goes.
  for (;;) {
    const joined = join(chosen, tokenizer);
    const tokens = joined.reduce((sum, { packed }) => sum + packed.tokens, firstTokens);
    if (chosen.length === 0 || tokens <= Math.max(forParts, firstTokens)) {
      const matches = (parts[0]?.score ?? 0) > INTRODUCES;
      const best = chosen.slice(0, BEST).map((part) => promptPart(part.file, [part]));
      for (const { file } of chosen) taken.add(file);
      const others = ranked.candidates.filter(({ file }) => !taken.has(file));
      const outlines = forParts < budget ? await outlined(others, budget - tokens, request) : [];
      const inOrder = [...joined, ...outlines].sort((a, b) => a.fileIndex - b.fileIndex);
      return { files: [...first, ...inOrder.map(({ packed }) => packed)], matches, best };
    }
    chosen.pop();
  }
}

/** Set aside for outlines where there is so much room that the best parts hardly need all of it. */
function outlineReserve(budget: number): number {
  return Math.floor(Math.max(0, budget - ENOUGH_FOR_PARTS) * OUTLINE_SHARE);
}

/** Outlines of the most relevant of `files`, as many as fit. */
async function outlined(
  files: readonly Candidate[],
  room: number,
  { tokenizer, symbols, signal }: Pick<Parameters<typeof selectParts>[1], 'tokenizer' | 'symbols' | 'signal'>,
): Promise<Placed[]> {
  const outlines: Placed[] = [];
  let left = room;
  let misses = 0;
  for (const { file, fileIndex } of files.slice(0, FILES_OUTLINED)) {
    if (left < SMALLEST_OUTLINE || misses >= MISSES) break;
    signal?.throwIfAborted();
    const packed = packedOutline(tokenizer, file.path, await symbols(file), left);
    if (packed === null) {
      misses++;
      continue;
    }
    misses = 0;
    left -= packed.tokens;
    outlines.push({ fileIndex, packed });
  }
  return outlines;
}

interface Placed {
  readonly fileIndex: number;
  readonly packed: PackedFile;
}

/** Most relevant first. Where no word of the question occurs anywhere, what introduces a project comes first. */
async function rankedParts(
  ordered: readonly SourceFile[],
  request: Pick<
    Parameters<typeof selectParts>[1],
    'budget' | 'question' | 'attention' | 'symbols' | 'scores' | 'signal'
  >,
): Promise<{ readonly parts: readonly Part[]; readonly candidates: readonly Candidate[] }> {
  const query = queryOf(request.question);
  const weights = kindWeights(query);
  const fileScores = await request.scores(ordered, query);
  const hits: Candidate[] = [];
  const others: Candidate[] = [];
  await inSlices(
    ordered,
    (file, fileIndex) => {
      const introduction = introduces(file, request.attention);
      if (fileScores[fileIndex] === 0 && introduction === 0 && others.length >= FILES_CUT) return;
      const weight = weights[file.traits().kinds]! * attentionWeight(file.path, request.attention);
      const score = weight * fileScores[fileIndex]! + introduction;
      (score > 0 ? hits : others).push({ file, fileIndex, weight, score });
    },
    request.signal,
  );
  const found = [...(await sortedInSlices(hits, byScore, request.signal)), ...others].slice(0, FILES_CUT);
  const candidates = await withLinks(found, request.symbols);
  const tokens = Math.min(LARGEST_PART, Math.max(SMALLEST_PART, Math.floor(request.budget / PARTS_AIMED_AT)));
  const parts: { file: SourceFile; fileIndex: number; weight: number; fileScore: number; chunk: Chunk }[] =
    [];
  const passages: Passage[] = [];
  const cut = ({ score: fileScore, ...candidate }: (typeof candidates)[number]) => {
    const { path, text } = candidate.file;
    const heading = headingOf(text);
    for (const chunk of chunksOf(text, tokens * CHARACTERS_PER_TOKEN)) {
      parts.push({ ...candidate, fileScore, chunk });
      passages.push(passageOf(path, chunk.text, chunk.first === 1 ? '' : heading));
    }
  };
  await inSlices(candidates, cut, request.signal);
  const scores = await scoreInSlices(passages, query, request.signal);
  const own = parts.map(({ weight, fileScore }, i) => weight * scores[i]! + FILE_SHARE * fileScore);
  const scored = parts
    .map(({ file, fileIndex, chunk }, i): Part => {
      const before = parts[i - 1]?.file === file ? own[i - 1]! : 0;
      const after = parts[i + 1]?.file === file ? own[i + 1]! : 0;
      const whole = Math.max(
        before * (chunk.continues ? CONTINUED : ADJACENT),
        after * (parts[i + 1]?.chunk.continues ? CONTINUED : ADJACENT),
      );
      return { file, fileIndex, chunk, score: Math.max(own[i]!, whole) };
    })
    .sort((a, b) => b.score - a.score || a.fileIndex - b.fileIndex || a.chunk.first - b.chunk.first);
  const floor = (scored[0]?.score ?? 0) * SCORE_FLOOR;
  return { parts: scored.filter((part) => part.score >= floor), candidates };
}

interface Candidate {
  readonly file: SourceFile;
  readonly fileIndex: number;
  readonly weight: number;
  readonly score: number;
}

function byScore(a: Candidate, b: Candidate): number {
  return b.score - a.score || a.fileIndex - b.fileIndex;
}

/** Only the first ones are parsed for their imports: the others are not chosen. */
async function withLinks(
  candidates: readonly Candidate[],
  symbolsOf: (file: SourceFile) => Promise<FileSymbols>,
): Promise<Candidate[]> {
  const first = candidates.slice(0, FILES_LINKED).filter(({ score }) => score > INTRODUCES);
  const symbols = await Promise.all(first.map(({ file }) => symbolsOf(file)));
  const linked = linkedScores(first.map(({ file, score }, i) => ({ file, score, symbols: symbols[i]! })));
  return [
    ...first.map((candidate, i) => ({ ...candidate, score: candidate.score + LINKED * linked[i]! })),
    ...candidates.slice(first.length),
  ].sort(byScore);
}

/** What is in front of a person, or was worked on lately, is a little likelier meant than the same words elsewhere. */
function attentionWeight(path: string, { active, open, recency }: Attention): number {
  const seen = path === active ? ACTIVE : open.has(path) ? OPEN : 1;
  return seen * (1 + RECENT * (recency.get(path) ?? 0));
}

function introduces(file: SourceFile, { active }: Attention): number {
  return file.path === active ? 2 * INTRODUCES : INTRODUCES * file.traits().introduces;
}

/** Neighbouring parts of a file become one; all parts of a file become the file. */
function join(parts: readonly Part[], tokenizer: Tokenizer): Placed[] {
  const inOrder = [...parts].sort((a, b) => a.fileIndex - b.fileIndex || a.chunk.first - b.chunk.first);
  const runs: Part[][] = [];
  for (const part of inOrder) {
    const run = runs.at(-1);
    const before = run?.at(-1);
    if (run && before?.file === part.file && before.chunk.last + 1 === part.chunk.first) run.push(part);
    else runs.push([part]);
  }
  return runs.map((run) => ({
    fileIndex: run[0]!.fileIndex,
    packed: packedPart(tokenizer, run[0]!.file, promptPart(run[0]!.file, run)),
  }));
}

function promptPart(file: SourceFile, run: readonly Part[]): PromptFile {
  const first = run[0]!.chunk.first;
  const last = run.at(-1)!.chunk.last;
  const lines = withoutFinalLineFeeds(file.text).split('\n');
  if (first === 1 && last === lines.length) return { path: file.path, text: file.text };
  return { path: file.path, text: lines.slice(first - 1, last).join('\n'), lines: { first, last } };
}
