/** gemma/preview, gemma/context and gemma/mentions between wire and what stands behind them. */
import type { Choice } from '../context/choice.ts';
import type { PathSearch } from '../context/mentions.ts';
import type { Engine } from '../engine/engine.ts';
import { answerReserve, type ContextFullError } from '../prompt/budget.ts';
import type { ContextReport, CostPreview, Mention } from '../protocol/context-types.ts';
import type { CacheReport } from '../protocol/methods.ts';
import type { Preview } from '../session/chat-session.ts';
import { contextTree } from '../session/context-tree.ts';
import type { AheadProgress } from '../session/read-ahead.ts';
import { clampInteger, record, string } from './chat-wire.ts';

export function previewToWire(preview: Preview): CostPreview {
  const { promptTokens, cachedInMemory, cachedOnDisk, toRead, seconds, unknownMentions, tokenUse } = preview;
  return {
    promptTokens,
    contextLength: tokenUse.contextLength,
    reserved: tokenUse.reserved,
    cachedInMemory,
    cachedOnDisk,
    toRead,
    ...(seconds !== undefined && { seconds }),
    unknownMentions,
    ...(preview.forgotten > 0 && { forgottenTurns: preview.forgotten }),
    ...(preview.packed && !preview.lasting && { reason: DEPENDS_ON_QUESTION }),
    files: preview.packed?.files.length ?? 0,
  };
}

const DEPENDS_ON_QUESTION =
  'Not everything fits: which parts of the repository go along depends on the question.';

/** A draft that does not fit is an answer too. */
export function overLongToWire({ needed, available, offers }: ContextFullError, engine: Engine): CostPreview {
  const { contextLength } = engine;
  return {
    promptTokens: needed,
    contextLength,
    reserved: answerReserve(contextLength),
    cachedInMemory: 0,
    cachedOnDisk: 0,
    toRead: needed,
    overLong: { needed, available, offers },
    unknownMentions: [],
    files: 0,
  };
}

export async function contextToWire(
  preview: Preview,
  {
    choice,
    cache,
    readingAhead,
    signal,
  }: {
    readonly choice: Choice;
    readonly cache: Pick<CacheReport, 'bytes' | 'limitBytes'>;
    readonly readingAhead: AheadProgress | null;
    readonly signal: AbortSignal;
  },
): Promise<ContextReport> {
  const { packed, tokenUse, memory, repositoryEnd } = preview;
  const files = packed?.files ?? [];
  // The journal follows the head where nothing has been asked yet.
  const start = repositoryEnd - (packed?.head.tokens ?? 0);
  const end = start + (packed?.tokens ?? 0);
  const sum = (of: readonly { readonly tokens: number }[]) =>
    of.reduce((total, { tokens }) => total + tokens, 0);
  const outlines = sum(files.filter(({ as }) => as === 'outline'));
  return {
    contextLength: tokenUse.contextLength,
    reserved: tokenUse.reserved,
    tokens: { head: (packed?.head.tokens ?? 0) - outlines, outlines, journal: sum(packed?.journal ?? []) },
    cachedInMemory: Math.min(preview.cachedInMemory, end),
    cachedOnDisk: Math.max(0, Math.min(preview.cachedOnDisk, end - preview.cachedInMemory)),
    root: await contextTree(files, packed?.leftOut ?? [], {
      start,
      cached: preview.cachedInMemory + preview.cachedOnDisk,
      choice,
      signal,
    }),
    journal: (packed?.journal ?? []).map(({ path, change, tokens }) => ({ path, change, tokens })),
    kv: { used: memory.kvParts, reserved: memory.kvReserved },
    ...(cache.limitBytes > 0 && { disk: { bytes: cache.bytes, limit: cache.limitBytes } }),
    ...(readingAhead && { readingAhead }),
    notes: preview.notes,
  };
}

const MOST_MENTIONS = 200;
const USUAL_MENTIONS = 20;

export function mentionsFromWire(params: unknown): { readonly query: string; readonly limit: number } {
  const { query, limit } = record(params, 'params');
  return {
    query: string(query, 'query', 1024),
    limit: limit === undefined ? USUAL_MENTIONS : clampInteger(limit, 1, MOST_MENTIONS, 'limit'),
  };
}

const THINGS = ['selection', 'problems', 'diff', 'terminal'] as const;

/** `search` is null where there is no workspace to read. */
export async function mentionsToWire(
  query: string,
  search: PathSearch | null,
  limit: number,
  signal: AbortSignal,
): Promise<readonly Mention[]> {
  const { kind, rest } = /^(?:(?<kind>file|folder):)?"?(?<rest>[^"]*)/.exec(query)?.groups ?? {};
  const wanted = rest ?? '';
  const things = kind
    ? []
    : THINGS.filter((thing) => thing.startsWith(wanted.toLowerCase())).map((thing): Mention => {
        const matches = Array.from(wanted, (_, i) => i);
        return { kind: thing, insert: `@${thing}`, label: thing, matches };
      });
  const kinds = kind === 'file' || kind === 'folder' ? kind : 'any';
  const paths = (await search?.find(wanted, kinds, limit, signal)) ?? [];
  return [
    ...things,
    ...paths.map(({ path, kind: own, matches }): Mention => {
      const plain = /^[\p{L}\p{N}_$.][\p{L}\p{N}_$./+@~-]*$/u.test(path) && !/[.-]$/.test(path);
      return { kind: own, insert: plain ? `@${path}` : `@"${path}"`, label: path, path, matches };
    }),
  ].slice(0, limit);
}
