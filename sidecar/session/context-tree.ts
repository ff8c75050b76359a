/** What fills the window, as a tree of folders and files with tokens by state: the picture of the context panel. */
import { type Choice, decisionOn } from '../context/choice.ts';
import type { LeftOut } from '../context/files.ts';

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

/** A folder shows its largest children; the others become one. */
const MOST_CHILDREN = 60;

interface Draft {
  readonly path: string;
  readonly name: string;
  readonly tokens: Record<TreeState, number>;
  files: number;
  reason?: LeftOut['reason'];
  pinned?: boolean;
  readonly children: Map<string, Draft>;
}

/** `shown` in prompt order, beginning at token `start`; the KV of the first `cached` tokens of the prompt is kept. */
export function contextTree(
  shown: readonly TreeFile[],
  leftOut: readonly LeftOut[],
  { start, cached, choice }: { readonly start: number; readonly cached: number; readonly choice: Choice },
): TreeNode {
  const root = draft('', '');
  let at = start;
  for (const { path, tokens, as } of shown) {
    const known = Math.min(tokens, Math.max(0, cached - at));
    at += tokens;
    add(root, path, (file) => {
      if (as === 'outline') file.tokens.outlined += tokens;
      else {
        file.tokens.cached += known;
        file.tokens.fresh += tokens - known;
      }
      if (decisionOn(choice, path) === 'pinned') file.pinned = true;
    });
  }
  for (const { path, reason, tokens = 0 } of leftOut) {
    add(root, path, (file) => {
      file.tokens['left-out'] += tokens;
      file.reason = reason;
    });
  }
  return finished(root);
}

function draft(path: string, name: string): Draft {
  return {
    path,
    name,
    tokens: { cached: 0, fresh: 0, outlined: 0, 'left-out': 0 },
    files: 0,
    children: new Map(),
  };
}

function add(root: Draft, path: string, change: (file: Draft) => void): void {
  let node = root;
  let from = 0;
  while (from <= path.length) {
    const slash = path.indexOf('/', from);
    const end = slash < 0 ? path.length : slash;
    const name = path.slice(from, end);
    let child = node.children.get(name);
    if (!child) {
      child = draft(path.slice(0, end), name);
      node.children.set(name, child);
    }
    node = child;
    from = end + 1;
  }
  node.files = 1;
  change(node);
}

function finished(node: Draft): TreeNode {
  const { path, name, reason, pinned } = node;
  if (node.children.size === 0) {
    return {
      kind: 'file',
      name,
      path,
      tokens: node.tokens,
      files: node.files,
      ...(reason && { reason }),
      ...(pinned && { pinned }),
    };
  }
  const children = [...node.children.values()]
    .map(finished)
    .sort((a, b) => size(b) - size(a) || (a.name < b.name ? -1 : 1));
  const shown = children.length > MOST_CHILDREN ? children.slice(0, MOST_CHILDREN - 1) : children;
  const others = children.slice(shown.length);
  const rest: TreeNode[] =
    others.length === 0 ? [] : [{ kind: 'rest', name: `${others.length} more`, path, ...totals(others) }];
  return { kind: 'folder', name, path, ...totals(children), children: [...shown, ...rest] };
}

function totals(nodes: readonly TreeNode[]): Pick<TreeNode, 'tokens' | 'files'> {
  const tokens = { cached: 0, fresh: 0, outlined: 0, 'left-out': 0 };
  let files = 0;
  for (const node of nodes) {
    files += node.files;
    for (const state of Object.keys(tokens) as TreeState[]) tokens[state] += node.tokens[state];
  }
  return { tokens, files };
}

function size({ tokens }: TreeNode): number {
  return tokens.cached + tokens.fresh + tokens.outlined + tokens['left-out'];
}
