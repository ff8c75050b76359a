/** A cache folder of the test's own: no test reads or fills the one of whoever runs it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

let folder: string | null = null;

/** Environment that points programs at it. Deleted when the test process ends. */
export function privateCache(): { readonly XDG_CACHE_HOME: string } {
  if (folder === null) {
    const made = mkdtempSync(path.join(tmpdir(), 'cache-'));
    process.on('exit', () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  return { XDG_CACHE_HOME: folder };
}
