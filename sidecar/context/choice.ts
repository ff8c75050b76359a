/** What a person decided about files and folders; protocol/context-types.ts says what it means. */

export interface Choice {
  readonly pinned: readonly string[];
  readonly dropped: readonly string[];
}

export const NO_CHOICE: Choice = { pinned: [], dropped: [] };

/** The most specific path decides; of equal ones, dropping does. */
export function decisionOn(choice: Choice, path: string): 'pinned' | 'dropped' | null {
  const pinned = longestOver(choice.pinned, path);
  const dropped = longestOver(choice.dropped, path);
  if (pinned < 0 && dropped < 0) return null;
  return pinned > dropped ? 'pinned' : 'dropped';
}

/** Length of the longest entry that is `path` or a folder over it; the root is everything. */
function longestOver(entries: readonly string[], path: string): number {
  return entries.reduce((longest, entry) => {
    const clean = entry.replace(/^\.\//, '').replace(/\/+$/, '');
    const over = clean === '' || clean === '.' || path === clean || path.startsWith(`${clean}/`);
    return over ? Math.max(longest, clean.length) : longest;
  }, -1);
}
