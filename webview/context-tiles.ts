/** From a context report to the tiles of its treemap, and to words. Pure. */

import type { ContextNode, ContextReport, ContextState } from '../sidecar/protocol/context-types.ts';
import { type Box, squarify } from './squarify.ts';
import { count, counted, LEFT_OUT_REASONS } from './wording.ts';

export const STATES: readonly ContextState[] = ['cached', 'fresh', 'outlined', 'left-out'];

export const STATE_LABELS: Readonly<Record<ContextState, string>> = {
  cached: 'Read and kept',
  fresh: 'To be read',
  outlined: 'Definitions only',
  'left-out': 'Left out',
};

export interface Tile {
  readonly node: ContextNode;
  readonly box: Box;
  /** A frame whose children are tiles of their own. */
  readonly isFrame: boolean;
  /** 0 for what lies directly in the folder that is shown. */
  readonly depth: number;
}

const HEADER_PX = 16;
const PADDING_PX = 2;
const SMALLEST_FRAME = { width: 48, height: 40 };
const SMALLEST_SIDE_PX = 2;
const MAX_TILES = 3_000;

export function totalTokens({ tokens }: ContextNode): number {
  return STATES.reduce((sum, state) => sum + tokens[state], 0);
}

/** Above this share of what is left out, it hides what fills the window. */
const MOST_LEFT_OUT = 3 / 4;

export function isMostlyLeftOut(node: ContextNode): boolean {
  return node.tokens['left-out'] > MOST_LEFT_OUT * totalTokens(node);
}

/** `node` with only what is in the window, and of it only the part that is. */
export function inWindow(node: ContextNode): ContextNode {
  const tokens = { ...node.tokens, 'left-out': 0 };
  if (node.children === undefined) return { ...node, tokens };
  const children = node.children.map(inWindow).filter((child) => totalTokens(child) > 0);
  return { ...node, tokens, children };
}

/** What lies in `folder`, laid out in `area` pixels: frames before what is in them. Tiles too small to be seen are left out. */
export function tilesOf(folder: ContextNode, area: Box): Tile[] {
  const tiles: Tile[] = [];
  const lay = (node: ContextNode, into: Box, depth: number) => {
    const children = [...(node.children ?? [])].sort((a, b) => totalTokens(b) - totalTokens(a));
    const boxes = squarify(children.map(totalTokens), into);
    for (const [index, child] of children.entries()) {
      const box = boxes[index];
      if (box === undefined || tiles.length >= MAX_TILES) return;
      if (box.width < SMALLEST_SIDE_PX || box.height < SMALLEST_SIDE_PX) continue;
      const isFrame =
        (child.children?.length ?? 0) > 0 &&
        box.width >= SMALLEST_FRAME.width &&
        box.height >= SMALLEST_FRAME.height;
      tiles.push({ node: child, box, isFrame, depth });
      if (isFrame) lay(child, inside(box), depth + 1);
    }
  };
  lay(folder, area, 0);
  return tiles;
}

function inside({ x, y, width, height }: Box): Box {
  return {
    x: x + PADDING_PX,
    y: y + HEADER_PX,
    width: width - 2 * PADDING_PX,
    height: height - HEADER_PX - PADDING_PX,
  };
}

/** The folder at `path`, or the deepest one on the way to it. */
export function folderAt(root: ContextNode, path: string): ContextNode {
  let folder = root;
  for (;;) {
    const next = folder.children?.find(
      (child) => child.kind === 'folder' && (path === child.path || path.startsWith(withSlash(child.path))),
    );
    if (next === undefined) return folder;
    folder = next;
  }
}

/** The folders from the root to `path`, the root first. */
export function folderTrail(root: ContextNode, path: string): ContextNode[] {
  const trail = [root];
  for (;;) {
    const next = trail
      .at(-1)
      ?.children?.find(
        (child) => child.kind === 'folder' && (path === child.path || path.startsWith(withSlash(child.path))),
      );
    if (next === undefined) return trail;
    trail.push(next);
  }
}

function withSlash(path: string): string {
  return path.endsWith('/') ? path : `${path}/`;
}

/** "src/cart.ts: 1,200 tokens; read and kept 1,000, left out 200 (did not fit); pinned". */
export function nodeWords(node: ContextNode): string {
  const name =
    node.kind === 'rest'
      ? `${count(node.files)} more small ${node.files === 1 ? 'file' : 'files'} in ${node.path || 'the workspace'}`
      : `${node.path}${node.pinned === true ? ' (pinned)' : ''}`;
  const states = STATES.filter((state) => node.tokens[state] > 0);
  const first = states[0];
  const parts =
    states.length === 1 && first !== undefined
      ? STATE_LABELS[first].toLowerCase()
      : states.map((state) => `${STATE_LABELS[state].toLowerCase()} ${count(node.tokens[state])}`).join(', ');
  const reason = node.reason === undefined ? '' : ` (${LEFT_OUT_REASONS[node.reason]})`;
  const files = node.kind === 'folder' ? `${counted(node.files, 'file')}, ` : '';
  return `${name}: ${files}${counted(totalTokens(node), 'token')}; ${parts}${reason}`;
}

export interface WindowPart {
  readonly name: 'kept' | 'disk' | 'fresh' | 'reserved' | 'free';
  readonly label: string;
  readonly tokens: number;
}

/** What fills the window before the conversation; the parts add up to the context length. */
export function windowParts(report: ContextReport): WindowPart[] {
  const { contextLength, reserved, tokens, cachedInMemory, cachedOnDisk } = report;
  const repository = tokens.head + tokens.outlines + tokens.journal;
  const kept = Math.min(repository, cachedInMemory);
  const disk = Math.min(repository - kept, cachedOnDisk);
  const parts: WindowPart[] = [
    { name: 'kept', label: 'Read, in memory', tokens: kept },
    { name: 'disk', label: 'Read, on disk', tokens: disk },
    { name: 'fresh', label: 'To be read', tokens: repository - kept - disk },
    { name: 'reserved', label: 'Set aside for the answer', tokens: reserved },
    {
      name: 'free',
      label: 'Free for the conversation',
      tokens: Math.max(0, contextLength - repository - reserved),
    },
  ];
  return parts.filter(({ tokens }) => tokens > 0);
}
