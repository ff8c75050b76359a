/** Which of the files most relevant to a question import one another: what stands beside a good hit is likely part of the answer. */
import type { SourceFile } from './files.ts';
import type { FileSymbols } from './symbols/extract.ts';
import { importsFile } from './symbols/module-path.ts';

export interface LinkedFile {
  readonly file: SourceFile;
  readonly score: number;
  readonly symbols: FileSymbols;
}

/** Files that count as good hits. */
const BEST = 8;

/**
 * For each file, the score of the best hit that it imports or that imports it; 0 where there is none. `files` are in order
 * of their score, best first.
 */
export function linkedScores(files: readonly LinkedFile[]): Float64Array {
  const best = files.slice(0, BEST);
  return Float64Array.from(files, (file) =>
    best.reduce(
      (most, hit) =>
        hit !== file && hit.score > most && (imports(file, hit) || imports(hit, file)) ? hit.score : most,
      0,
    ),
  );
}

function imports({ file, symbols }: LinkedFile, target: LinkedFile): boolean {
  return symbols.imports.some(({ module }) => importsFile(file.path, module, target.file.path));
}
