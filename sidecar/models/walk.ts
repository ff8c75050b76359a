/** Files below a folder that somebody else filled: bounded in depth and number, and links to folders are not followed. */
import { type Dirent, promises as fs } from 'node:fs';
import path from 'node:path';

const MAX_DEPTH = 6;
const MAX_ENTRIES = 20_000;

/** Paths of files and links for which `wanted` holds. A folder that is missing or closed holds nothing. */
export async function filesBelow(
  folder: string,
  wanted: (relative: string) => boolean,
): Promise<readonly string[]> {
  const found: string[] = [];
  let entriesLeft = MAX_ENTRIES;
  const visit = async (relative: string, depth: number): Promise<void> => {
    let entries: Dirent[];
    try {
      entries = await fs.readdir(path.join(folder, relative), { withFileTypes: true });
    } catch {
      return;
    }
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entriesLeft-- <= 0) return;
      const name = path.join(relative, entry.name);
      if (entry.isDirectory()) {
        if (depth < MAX_DEPTH) await visit(name, depth + 1);
      } else if ((entry.isFile() || entry.isSymbolicLink()) && wanted(name)) {
        found.push(path.join(folder, name));
      }
    }
  };
  await visit('', 0);
  return found;
}
