/** Reads the import graph of the TypeScript sources: every static, dynamic and type-only import and re-export. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '../..');

export interface SourceFile {
  /** Repository-relative, forward slashes. */
  readonly path: string;
  /** Repository-relative targets of relative imports. */
  readonly imports: readonly string[];
  /** Bare specifiers: packages and node: modules. */
  readonly packages: readonly string[];
  readonly text: string;
}

const IMPORT =
  /(?:^|[;\n}])\s*(?:import|export)\b(?:[^'"`;]*?\bfrom)?\s*['"](?<spec>[^'"\n]+)['"]|\b(?:import|require)\s*\(\s*['"](?<called>[^'"\n]+)['"]/g;

/** Specifiers in the order they stand; comments are removed first so that prose about imports does not count. */
export function importSpecifiers(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...code.matchAll(IMPORT)].map((m) => m.groups?.['spec'] ?? m.groups?.['called'] ?? '');
}

export function readGraph(folders: readonly string[]): Map<string, SourceFile> {
  const files = new Map<string, SourceFile>();
  for (const folder of folders) {
    const absolute = path.join(ROOT, folder);
    if (!existsSync(absolute)) continue;
    for (const entry of readdirSync(absolute, { recursive: true, withFileTypes: true })) {
      const full = path.join(entry.parentPath, entry.name);
      if (!entry.isFile() || !/\.ts$/.test(entry.name) || full.includes('/node_modules/')) continue;
      const relative = toRelative(full);
      const text = readFileSync(full, 'utf8');
      const specifiers = importSpecifiers(text);
      files.set(relative, {
        path: relative,
        imports: specifiers
          .filter((s) => s.startsWith('.'))
          .map((s) => toRelative(resolveFile(path.resolve(path.dirname(full), s)))),
        packages: specifiers.filter((s) => !s.startsWith('.')),
        text,
      });
    }
  }
  return files;
}

function resolveFile(target: string): string {
  const candidates = [target, `${target}.ts`, path.join(target, 'index.ts')];
  return candidates.find((c) => existsSync(c) && statSync(c).isFile()) ?? target;
}

function toRelative(full: string): string {
  return path.relative(ROOT, full).split(path.sep).join('/');
}

/** One cycle as a list of files, or null. Type-only imports count: a cycle of types is still a cycle of ideas. */
export function findCycle(files: ReadonlyMap<string, SourceFile>): string[] | null {
  const state = new Map<string, 'open' | 'done'>();
  const stack: string[] = [];
  const visit = (node: string): string[] | null => {
    if (state.get(node) === 'done') return null;
    if (state.get(node) === 'open') return [...stack.slice(stack.indexOf(node)), node];
    state.set(node, 'open');
    stack.push(node);
    for (const next of files.get(node)?.imports ?? []) {
      const cycle = files.has(next) ? visit(next) : null;
      if (cycle) return cycle;
    }
    stack.pop();
    state.set(node, 'done');
    return null;
  };
  for (const node of files.keys()) {
    const cycle = visit(node);
    if (cycle) return cycle;
  }
  return null;
}
