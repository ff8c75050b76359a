/** Paths that a model wrote: only those that stay inside the workspace are followed. */

/**
 * The segments of a workspace-relative path, or null for anything that is absolute, climbs out or is not a path.
 * Backslashes count as separators, so that a Windows form cannot slip through.
 */
export function relativeSegments(path: string): string[] | null {
  if (path.length > 4096 || hasControlCharacter(path)) return null;
  const slashed = path.replaceAll('\\', '/');
  if (slashed.startsWith('/') || /^[a-z][a-z0-9+.-]*:/i.test(slashed)) return null;
  const segments = slashed.split('/').filter((segment) => segment !== '' && segment !== '.');
  return segments.length === 0 || segments.includes('..') ? null : segments;
}

/** True when `path` is `root` or lies below it; both are real paths of this machine. */
export function isInside(root: string, path: string, separator: string): boolean {
  return path === root || path.startsWith(root.endsWith(separator) ? root : root + separator);
}

function hasControlCharacter(text: string): boolean {
  return [...text].some((character) => character < ' ' || character === '\u007f');
}
