/** Parses texts with grammars that are loaded when first needed. */
import { Language as Grammar, Parser } from 'web-tree-sitter';
import { type FileSymbols, NO_SYMBOLS, symbolsOf } from './extract.ts';
import { grammarFile, parserFile } from './grammar-files.ts';
import { languageOf } from './languages.ts';

/** A text that takes longer is one that nobody reads either. */
const TIMEOUT_MS = 1000;

let parser: Promise<Parser> | null = null;
const grammars = new Map<string, Promise<Grammar>>();

/** Empty for languages without a grammar, and for texts that cannot be parsed in time. */
export async function parseSymbols(path: string, text: string): Promise<FileSymbols> {
  const language = languageOf(path);
  if (!language) return NO_SYMBOLS;
  parser ??= Parser.init({ locateFile: parserFile }).then(() => new Parser());
  const ready = await parser;
  let grammar = grammars.get(language.grammar);
  if (!grammar) {
    grammar = Grammar.load(grammarFile(language.grammar));
    grammars.set(language.grammar, grammar);
  }
  ready.setLanguage(await grammar);
  const deadline = performance.now() + TIMEOUT_MS;
  const tree = ready.parse(text, null, { progressCallback: () => performance.now() > deadline });
  if (!tree) {
    ready.reset();
    return NO_SYMBOLS;
  }
  try {
    return symbolsOf(tree.rootNode, text, language);
  } finally {
    tree.delete();
  }
}
