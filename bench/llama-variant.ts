/**
 * llama.cpp restricted to one of its CPU builds, in a process of its own; started by speed.ts.
 *
 *   node bench/llama-variant.ts haswell FILE CONTEXT THREADS
 *
 * llama.cpp chooses among the libraries that lie beside it, so it gets a folder with links to one of them only: haswell is its
 * AVX2 build. For each line on standard input, a JSON list of token ids, it prints the milliseconds of reading them.
 */
import { cpSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [variant, file, context, threads] = process.argv.slice(2);
const name = `@node-llama-cpp/${process.platform === 'linux' ? 'linux' : process.platform}-${process.arch}`;
const folder = mkdtempSync(path.join(tmpdir(), 'llama-variant-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
const entry = restricted();
registerHooks({
  resolve: (specifier, hook, next) =>
    specifier === name ? { url: entry, format: 'module', shortCircuit: true } : next(specifier, hook),
});
const { loadLlama } = await import('../test/support/llama.ts');
const model = await loadLlama(file!, { contextSize: Number(context), threads: Number(threads) });
for await (const line of createInterface({ input: process.stdin })) {
  const { prefillMs } = await model.time(JSON.parse(line) as number[], 0);
  process.stdout.write(`${prefillMs}\n`);
}
await model.dispose();

/** A copy of the package of binaries without the other CPU libraries; returns its entry. */
function restricted(): string {
  const require = createRequire(import.meta.url);
  const from = path.join(path.dirname(require.resolve('node-llama-cpp')), '..', '..', name);
  cpSync(path.join(from, 'dist'), path.join(folder, 'dist'), { recursive: true });
  cpSync(path.join(from, 'package.json'), path.join(folder, 'package.json'));
  for (const build of readdirSync(path.join(from, 'bins'))) {
    mkdirSync(path.join(folder, 'bins', build), { recursive: true });
    for (const library of readdirSync(path.join(from, 'bins', build))) {
      const other = library.startsWith('libggml-cpu-') && library !== `libggml-cpu-${variant}.so`;
      const [source, target] = [from, folder].map((root) => path.join(root, 'bins', build, library));
      if (!other) copyOrLink(source!, target!);
    }
  }
  return pathToFileURL(path.join(folder, 'dist', 'index.js')).href;
}

function copyOrLink(source: string, target: string): void {
  try {
    linkSync(source, target);
  } catch {
    // Another file system, or a folder.
    cpSync(source, target, { recursive: true });
  }
}
