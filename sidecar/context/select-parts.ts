/** Chooses the parts of files most relevant to a question that fit a budget, and lays them out in the files' own order. */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { ContextFullError } from '../prompt/budget.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import { type PromptFile, withoutFinalLineFeeds } from '../prompt/file-block.ts';
import { type Chunk, chunksOf } from './chunks.ts';
import type { SourceFile } from './files.ts';
import { type PackedFile, packedPart } from './packed-file.ts';
import { pathWeight } from './path-kind.ts';
import { queryOf } from './question.ts';
import { type Passage, passageMaker, passageOf, scoreInSlices } from './relevance.ts';
import { inSlices } from './slices.ts';

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
/** With more files than these, words are looked up anew for each question rather than kept. */
const FILES_KEPT = 3000;
const CHARACTERS_PER_TOKEN = 3;
/** Found with bench/retrieval.ts, like the weights below. */
const PARTS_AIMED_AT = 10;
const SMALLEST_PART = 100;
const LARGEST_PART = 400;
/** Parts scoring less than this share of the best one mislead more than they help. */
const SCORE_FLOOR = 0.15;
const BEST = 3;
/** A part of a file that is about the question is worth more than the same words elsewhere. */
const FILE_SHARE = 0.25;
/** What a part owes to its better neighbour: one that it goes on with, or one that merely stands beside it. */
const CONTINUED = 0.8;
const ADJACENT = 0.5;

export async function selectParts(
  ordered: readonly SourceFile[],
  request: {
    readonly tokenizer: Tokenizer;
    readonly budget: number;
    readonly question: readonly string[];
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
  const parts = (await rankedParts(ordered, request)).filter(({ file }) => !taken.has(file));
  const chosen: Part[] = [];
  let used = firstTokens;
  for (const part of parts) {
    const cost = encodeFile(tokenizer, promptPart(part.file, [part])).length;
    if (used + cost > budget) continue;
    chosen.push(part);
    used += cost;
  }
  // Joining neighbours saves headers, and so hardly ever costs; if it does, the least relevant part goes.
  for (;;) {
    const files = [...first, ...join(chosen, tokenizer)];
    if (chosen.length === 0 || files.reduce((sum, f) => sum + f.tokens, 0) <= budget) {
      const matches = (parts[0]?.score ?? 0) > INTRODUCES;
      return { files, matches, best: chosen.slice(0, BEST).map((part) => promptPart(part.file, [part])) };
    }
    chosen.pop();
  }
}

/** Most relevant first. Where no word of the question occurs anywhere, what introduces a project comes first. */
async function rankedParts(
  ordered: readonly SourceFile[],
  request: { readonly budget: number; readonly question: readonly string[]; readonly signal?: AbortSignal },
): Promise<Part[]> {
  const query = queryOf(request.question);
  const make = ordered.length > FILES_KEPT ? passageMaker(query) : null;
  const whole: Passage[] = [];
  await inSlices(
    ordered,
    (file) => {
      // The other words of many files would fill the memory.
      whole.push(make ? make(file.path, file.text) : file.passage());
    },
    request.signal,
  );
  const fileScores = await scoreInSlices(whole, query, request.signal);
  const candidates = ordered
    .map((file, fileIndex) => {
      const weight = pathWeight(file.path, query);
      const score = weight * fileScores[fileIndex]! + introduces(file.path);
      return { file, fileIndex, weight, score };
    })
    .sort((a, b) => b.score - a.score || a.fileIndex - b.fileIndex)
    .slice(0, FILES_CUT);
  const tokens = Math.min(LARGEST_PART, Math.max(SMALLEST_PART, Math.floor(request.budget / PARTS_AIMED_AT)));
  const parts: { file: SourceFile; fileIndex: number; weight: number; fileScore: number; chunk: Chunk }[] =
    [];
  const passages: Passage[] = [];
  const cut = ({ score: fileScore, ...candidate }: (typeof candidates)[number]) => {
    for (const chunk of chunksOf(candidate.file.text, tokens * CHARACTERS_PER_TOKEN)) {
      parts.push({ ...candidate, fileScore, chunk });
      passages.push(passageOf(candidate.file.path, chunk.text));
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
  return scored.filter((part) => part.score >= floor);
}

/** Less than any real match, so that it only decides where nothing matches. */
const INTRODUCES = 0.003;
function introduces(path: string): number {
  if (/^(?:[^/]+\/)?readme(\.\w+)?$/i.test(path)) return INTRODUCES;
  if (
    /^(?:[^/]+\/)?(package\.json|Cargo\.toml|pyproject\.toml|go\.mod|pom\.xml|CMakeLists\.txt)$/.test(path)
  ) {
    return INTRODUCES / 2;
  }
  return /^[^/]+\.md$/i.test(path) ? INTRODUCES / 3 : 0;
}

/** Neighbouring parts of a file become one; all parts of a file become the file. */
function join(parts: readonly Part[], tokenizer: Tokenizer): PackedFile[] {
  const inOrder = [...parts].sort((a, b) => a.fileIndex - b.fileIndex || a.chunk.first - b.chunk.first);
  const runs: Part[][] = [];
  for (const part of inOrder) {
    const run = runs.at(-1);
    const before = run?.at(-1);
    if (run && before?.file === part.file && before.chunk.last + 1 === part.chunk.first) run.push(part);
    else runs.push([part]);
  }
  return runs.map((run) => packedPart(tokenizer, run[0]!.file, promptPart(run[0]!.file, run)));
}

function promptPart(file: SourceFile, run: readonly Part[]): PromptFile {
  const first = run[0]!.chunk.first;
  const last = run.at(-1)!.chunk.last;
  const lines = withoutFinalLineFeeds(file.text).split('\n');
  if (first === 1 && last === lines.length) return { path: file.path, text: file.text };
  return { path: file.path, text: lines.slice(first - 1, last).join('\n'), lines: { first, last } };
}
