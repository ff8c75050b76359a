/** How much memory a model needs at a context length, and whether this machine has it. */
import { OutOfMemory, PAGE_POSITIONS } from '../backend/backend.ts';
import {
  boundBytes,
  hotRunPages,
  type KvLayout,
  type PerClass,
  pageBytes,
  pagesFor,
  ringPages,
  windowPages,
} from './layout.ts';

/**
 * Kept windows beyond the least (two) take local pages up to this share of the global layers' memory or this many
 * bytes, whichever is more.
 */
const WINDOW_SHARE = 0.16;
const WINDOW_BYTES = 128 * 2 ** 20;
const WINDOWS_BEYOND = 8;

/** Left to the rest of the process and to the system. */
const HEADROOM_BYTES = 256 * 2 ** 20;
/** A context shorter than this is of no use. */
const LEAST_CONTEXT = 512;
const CONTEXT_STEP = 512;

/** Pages of every class; `cold` where the layout compresses. */
export interface KvPages extends PerClass<number> {
  readonly cold?: number;
}

/** Pages to reserve, so that one sequence can fill the context while kept windows let others branch. */
export function kvPages(layout: KvLayout, context: number): KvPages {
  const { cold } = layout;
  const { local, global } = layout.shapes;
  const contextPages = pagesFor(context);
  const least = ringPages(layout) + 2 * windowPages(layout);
  const allowance = Math.max(WINDOW_SHARE * contextPages * pageBytes(global, cold?.format), WINDOW_BYTES);
  const affordable = Math.floor(allowance / pageBytes(local)) - least;
  const beyond = Math.max(0, Math.min(affordable, WINDOWS_BEYOND * windowPages(layout)));
  if (cold === undefined) return { local: least + beyond, global: contextPages };
  // A kept state needs its hot pages as it needs its window.
  const keptStates = 2 + Math.floor(beyond / windowPages(layout));
  const hot = hotRunPages(layout, contextPages) + keptStates * (cold.hotPages + 1);
  const compressed = Math.max(1, contextPages - cold.exactPages);
  return { local: least + beyond, global: Math.min(hot, 2 * contextPages), cold: compressed };
}

export interface KvMemory {
  readonly local: number;
  readonly global: number;
  readonly total: number;
}

/** Bytes of the KV cache at a context length, all pages touched. */
export function kvMemory(layout: KvLayout, context: number): KvMemory {
  const pages = kvPages(layout, context);
  const local = pages.local * pageBytes(layout.shapes.local);
  const compressed = (pages.cold ?? 0) * pageBytes(layout.shapes.global, layout.cold?.format);
  const bounds = layout.sparse ? (pages.cold ?? pages.global) * boundBytes(layout.shapes.global) : 0;
  const global = pages.global * pageBytes(layout.shapes.global) + compressed + bounds;
  return { local, global, total: local + global };
}

export interface MemoryRequest {
  readonly layout: KvLayout;
  readonly weightBytes: number;
  readonly scratchBytes: number;
  readonly trainedContext: number;
  /** Undefined: as long as the model was trained for, or as memory allows. */
  readonly contextLength: number | undefined;
  /** A draft model beside it. */
  readonly draft?: {
    readonly layout: KvLayout;
    readonly weightBytes: number;
    readonly scratchBytes: number;
  } | null;
  /** For what makes it faster and is left out where the context would be shorter for it; default 0. */
  readonly extraBytes?: number;
  /** What the image tower takes while it is loaded; 0 or absent without one. */
  readonly towerBytes?: number;
  /** Bytes that this process may still take. */
  readonly available: number;
}

export interface MemoryPlan {
  readonly contextLength: number;
  readonly kv: KvMemory;
  /** Whether there is room for the extra. */
  readonly extra: boolean;
  /** What was adjusted, for a person; null if nothing. */
  readonly note: string | null;
}

/**
 * The image tower has its place in the plan where there is one; where there is none, the model reads text, and a note says so.
 *
 * @throws OutOfMemory with the numbers, if the context that was asked for, or any useful one, does not fit.
 */
export function planMemory(request: MemoryRequest): MemoryPlan {
  const { towerBytes = 0, ...textOnly } = request;
  if (towerBytes === 0) return planText(textOnly);
  try {
    return planText({ ...textOnly, scratchBytes: request.scratchBytes + towerBytes });
  } catch (error) {
    if (!(error instanceof OutOfMemory)) throw error;
    const plan = planText(textOnly);
    const note = `Images cannot be read beside this context: the image tower needs ${gib(towerBytes)}, and ${gib(request.available)} is free for all. Choose a shorter context or close other programs.`;
    return { ...plan, note: plan.note === null ? note : `${plan.note} ${note}` };
  }
}

/**
 * {@link planMemory} for the first of the layouts with which all of it fits; if there is none, for the last.
 *
 * @throws OutOfMemory as planMemory.
 */
export function planFirstThatFits(
  layouts: readonly KvLayout[],
  request: Omit<MemoryRequest, 'layout'>,
): MemoryPlan & { readonly layout: KvLayout } {
  for (const layout of layouts) {
    const isLast = layout === layouts.at(-1);
    try {
      const plan = planMemory({ ...request, layout });
      if (plan.note !== null && !isLast) continue;
      return { ...plan, layout, note: withFormatNote(plan.note, layout, layouts) };
    } catch (error) {
      if (isLast || !(error instanceof OutOfMemory)) throw error;
    }
  }
  throw new RangeError('There is no layout to plan for.');
}

/** A choice that is not the first one is told. */
function withFormatNote(note: string | null, layout: KvLayout, layouts: readonly KvLayout[]): string | null {
  if (layout === layouts[0] || layout.cold === undefined) return note;
  const { format, hotPages, exactPages } = layout.cold;
  const told =
    exactPages === 0
      ? `Keeps what lies more than ${hotPages * PAGE_POSITIONS} tokens behind as ${format}, so that the context fits in memory.`
      : `Keeps what lies behind the first ${exactPages * PAGE_POSITIONS} tokens and before the last ${hotPages * PAGE_POSITIONS} as ${format}, so that the context fits in memory.`;
  return note === null ? told : `${told} ${note}`;
}

function planText(request: Omit<MemoryRequest, 'towerBytes'>): MemoryPlan {
  const { layout, draft, trainedContext, contextLength, available, extraBytes = 0 } = request;
  const weightBytes = request.weightBytes + (draft?.weightBytes ?? 0);
  const scratchBytes = request.scratchBytes + (draft?.scratchBytes ?? 0);
  const fixed = weightBytes + scratchBytes + HEADROOM_BYTES;
  const kvBytes = (context: number) =>
    kvMemory(layout, context).total + (draft == null ? 0 : kvMemory(draft.layout, context).total);
  const fits = (context: number) => fixed + kvBytes(context) <= available;
  const wanted = contextLength ?? trainedContext;
  if (fits(wanted)) {
    const extra = extraBytes > 0 && fixed + extraBytes + kvBytes(wanted) <= available;
    return { contextLength: wanted, kv: kvMemory(layout, wanted), extra, note: null };
  }

  const fitting = largestFitting(wanted, fits);
  const needs =
    `${gib(weightBytes)} for weights, ${gib(scratchBytes + HEADROOM_BYTES)} for working memory and ` +
    `${gib(kvBytes(wanted))} for a context of ${wanted} tokens`;
  if (fitting === null) {
    throw new OutOfMemory(
      `Not enough memory: the model needs ${needs}, but only ${gib(available)} is free. Close other programs or choose a smaller model.`,
    );
  }
  if (contextLength !== undefined) {
    throw new OutOfMemory(
      `Not enough memory: the model needs ${needs}, but only ${gib(available)} is free. A context of up to ${fitting} tokens fits.`,
    );
  }
  return {
    contextLength: fitting,
    kv: kvMemory(layout, fitting),
    extra: false,
    note: `Lowered the context to ${fitting} tokens: the model needs ${needs}, but only ${gib(available)} is free.`,
  };
}

function largestFitting(below: number, fits: (context: number) => boolean): number | null {
  let low = 0;
  let high = Math.floor(below / CONTEXT_STEP);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle * CONTEXT_STEP)) low = middle;
    else high = middle - 1;
  }
  return low * CONTEXT_STEP >= LEAST_CONTEXT ? low * CONTEXT_STEP : null;
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
