/** What fills the window, as a tree of folders and files with tokens by state: the picture of the context panel. */
import { type Choice, decisionOn } from '../context/choice.ts';
import type { LeftOut } from '../context/files.ts';
import { inSlices, sortedInSlices } from '../context/slices.ts';

export type TreeState = 'cached' | 'fresh' | 'outlined' | 'left-out';

export interface TreeFile {
  readonly path: string;
  readonly tokens: number;
  readonly as?: string;
}

export interface TreeNode {
  readonly kind: 'folder' | 'file' | 'rest';
  readonly name: string;
  readonly path: string;
  readonly tokens: Readonly<Record<TreeState, number>>;
  readonly files: number;
  readonly reason?: LeftOut['reason'];
  readonly pinned?: boolean;
  readonly children?: readonly TreeNode[];
}

/** A folder shows those of its children that are in the window, and the largest others; the rest becomes one. */
const MOST_CHILDREN = 60;
/** Nodes in all, about: folders beyond it, the smallest of those with nothing in the window, show only how much is in them. */
const MOST_NODES = 4000;

interface Draft {
  readonly path: string;
  readonly name: string;
  readonly parent: Draft | null;
  readonly tokens: Record<TreeState, number>;
  files: number;
  reason?: LeftOut['reason'];
  pinned?: boolean;
  readonly children: Map<string, Draft>;
  /** Its children are shown. */
  open?: boolean;
}

/**
 * `shown` in prompt order, beginning at token `start`; the KV of the first `cached` tokens of the prompt is kept. Throws the
 * signal's reason.
 */
export async function contextTree(
  shown: readonly TreeFile[],
  leftOut: readonly LeftOut[],
  {
    start,
    cached,
    choice,
    signal,
  }: {
    readonly start: number;
    readonly cached: number;
    readonly choice: Choice;
    readonly signal?: AbortSignal;
  },
): Promise<TreeNode> {
  const root = draft(null, '', '');
  /** Those above before those below. */
  const folders = [root];
  let at = start;
  for (const { path, tokens, as } of shown) {
    const known = Math.min(tokens, Math.max(0, cached - at));
    at += tokens;
    const file = fileAt(folders, path);
    if (as === 'outline') file.tokens.outlined += tokens;
    else {
      file.tokens.cached += known;
      file.tokens.fresh += tokens - known;
    }
    if (decisionOn(choice, path) === 'pinned') file.pinned = true;
  }
  const leave = ({ path, reason, tokens = 0 }: LeftOut) => {
    const file = fileAt(folders, path);
    file.tokens['left-out'] += tokens;
    file.reason = reason;
  };
  await inSlices(leftOut, leave, signal);
  await inSlices(folders.toReversed(), addUp, signal);
  const byWorth = (a: Draft, b: Draft) => inWindow(b) - inWindow(a) || size(b) - size(a);
  let nodes = 0;
  for (const folder of await sortedInSlices(folders, byWorth, signal)) {
    if (nodes >= MOST_NODES && inWindow(folder) === 0) break;
    folder.open = true;
    nodes += Math.min(folder.children.size, MOST_CHILDREN);
  }
  return finished(root);
}

function draft(parent: Draft | null, path: string, name: string): Draft {
  const tokens = { cached: 0, fresh: 0, outlined: 0, 'left-out': 0 };
  return { path, name, parent, tokens, files: 0, children: new Map() };
}

/** Makes the file, and adds the folders over it that are new to `folders`, whose first is the root. */
function fileAt(folders: Draft[], path: string): Draft {
  let node = folders[0]!;
  for (let from = 0; from <= path.length; ) {
    const slash = path.indexOf('/', from);
    const end = slash < 0 ? path.length : slash;
    const name = path.slice(from, end);
    let child = node.children.get(name);
    if (!child) {
      child = draft(node, path.slice(0, end), name);
      if (node.children.size === 0 && node !== folders[0]) folders.push(node);
      node.children.set(name, child);
    }
    node = child;
    from = end + 1;
  }
  return node;
}

/** Tokens and files of a folder whose folders have theirs. */
function addUp(folder: Draft): void {
  for (const child of folder.children.values()) {
    if (child.children.size === 0) child.files = 1;
    folder.files += child.files;
    for (const state of STATES) folder.tokens[state] += child.tokens[state];
  }
}

const STATES: readonly TreeState[] = ['cached', 'fresh', 'outlined', 'left-out'];

function finished(node: Draft): TreeNode {
  const { path, name, tokens, files, reason, pinned } = node;
  if (node.children.size === 0) {
    const own = { ...(reason && { reason }), ...(pinned && { pinned }) };
    return { kind: 'file', name, path, tokens, files, ...own };
  }
  const children = [...node.children.values()].sort(
    (a, b) => inWindow(b) - inWindow(a) || size(b) - size(a) || (a.name < b.name ? -1 : 1),
  );
  const shown = !node.open
    ? []
    : children.length > MOST_CHILDREN
      ? children.slice(0, MOST_CHILDREN - 1)
      : children;
  const others = children.slice(shown.length);
  const largest = shown.toSorted((a, b) => size(b) - size(a) || (a.name < b.name ? -1 : 1)).map(finished);
  const rest: TreeNode[] =
    others.length === 0 ? [] : [{ kind: 'rest', name: `${others.length} more`, path, ...totals(others) }];
  return { kind: 'folder', name, path, tokens, files, children: [...largest, ...rest] };
}

function totals(drafts: readonly Draft[]): Pick<TreeNode, 'tokens' | 'files'> {
  const tokens = { cached: 0, fresh: 0, outlined: 0, 'left-out': 0 };
  let files = 0;
  for (const draft of drafts) {
    files += draft.files;
    for (const state of STATES) tokens[state] += draft.tokens[state];
  }
  return { tokens, files };
}

function inWindow({ tokens }: Draft): number {
  return tokens.cached + tokens.fresh + tokens.outlined;
}

function size(node: Draft): number {
  return inWindow(node) + node.tokens['left-out'];
}
