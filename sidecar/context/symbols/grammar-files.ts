/** Where the parser and its grammars lie: in packages of a clone, beside the bundle in a package. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const inClone = import.meta.url.endsWith('.ts');

export function parserFile(): string {
  if (!inClone) return fileURLToPath(new URL('./grammars/web-tree-sitter.wasm', import.meta.url));
  return createRequire(import.meta.url).resolve('web-tree-sitter/web-tree-sitter.wasm');
}

export function grammarFile(grammar: string): string {
  const name = `tree-sitter-${grammar}.wasm`;
  if (!inClone) return fileURLToPath(new URL(`./grammars/${name}`, import.meta.url));
  return createRequire(import.meta.url).resolve(`@vscode/tree-sitter-wasm/wasm/${name}`);
}
