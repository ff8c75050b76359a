/**
 * Definitions and imports of all files that belong, also of those that do not fit. Parsing runs on a thread of its own; a file
 * is parsed again only when its text changes. A question waits only for the files that hold what it names.
 */
import { createHash } from 'node:crypto';
import type { IndexFact } from '../../prompt/index-block.ts';
import type { SourceFile } from '../files.ts';
import { inSlices } from '../slices.ts';
import { askedFor } from './asked-for.ts';
import { thingsIn } from './concepts.ts';
import type { FileSymbols } from './extract.ts';
import { languageOf } from './languages.ts';
import { importsFile } from './module-path.ts';
import { questionKeys } from './question-keys.ts';
import { SymbolParser } from './symbol-parser.ts';

/** Texts whose symbols are kept. */
const MOST_KNOWN = 50_000;
/** Text that one question may have parsed for plain words, in UTF-16 units; those in code form always are. */
const PLAIN_WORD_TEXT = 4e6;

export class SymbolIndex {
  private readonly parser = new SymbolParser();
  private readonly known = new Map<string, Promise<FileSymbols>>();
  private readonly hashes = new WeakMap<SourceFile, string>();

  /** By content: a file that is renamed or checked out again is not parsed again. */
  symbols(file: SourceFile): Promise<FileSymbols> {
    let hash = this.hashes.get(file);
    if (hash === undefined) {
      const grammar = languageOf(file.path)?.grammar ?? '';
      hash = createHash('sha1').update(`${grammar}\0${file.text}`).digest('base64');
      this.hashes.set(file, hash);
    }
    let symbols = this.known.get(hash);
    if (!symbols) {
      symbols = this.parser.parse(file.path, file.text);
      this.known.set(hash, symbols);
      if (this.known.size > MOST_KNOWN) this.known.delete(this.known.keys().next().value!);
    }
    return symbols;
  }

  /**
   * What is known of the names in a question, in the order in which it names them; where it names nothing that is known, of
   * the things that it speaks of.
   */
  async facts(question: string, files: readonly SourceFile[]): Promise<IndexFact[]> {
    const facts: IndexFact[] = [];
    const spent = { plainText: 0 };
    for (const { key, code } of questionKeys(question)) {
      const { found, occurs } = await this.lookUp(key, code, files, spent);
      // A name that occurs but is nobody's definition (a parameter, a key of a configuration) is not called nowhere.
      if (found.length > 0) facts.push(...askedFor(question, found));
      else if (code && !occurs) facts.push({ key, kind: 'nowhere' });
    }
    if (facts.length > 0) return facts;
    for (const names of thingsIn(question)) {
      for (const name of names) {
        const { found } = await this.lookUp(name, false, files, spent);
        if (found.length === 0) continue;
        facts.push(...askedFor(question, found));
        break;
      }
    }
    return facts;
  }

  /** `code`: it is certainly meant as a name. `spent` limits what is parsed for words that may not be. */
  private async lookUp(
    key: string,
    code: boolean,
    files: readonly SourceFile[],
    spent: { plainText: number },
  ): Promise<{ readonly found: readonly IndexFact[]; readonly occurs: boolean }> {
    const named = fileOf(key, files);
    const found: IndexFact[] = [];
    if (named) {
      for (const { depth, line, text } of (await this.symbols(named)).definitions) {
        if (depth === 0) found.push({ key, kind: 'holds', path: named.path, line, text });
      }
    }
    // What a definition or an import of `a.b.c` has for certain is its last part.
    const part = named ? fileStem(named.path) : lastPart(key);
    let occurs = named !== undefined;
    const holding: SourceFile[] = [];
    await inSlices(files, (file) => {
      if (!file.text.includes(part)) return;
      occurs = true;
      if (languageOf(file.path) !== undefined) holding.push(file);
    });
    if (!code) {
      spent.plainText += holding.reduce((sum, file) => sum + file.text.length, 0);
      if (spent.plainText > PLAIN_WORD_TEXT) return { found: [], occurs };
    }
    const parsed = await Promise.all(
      holding.map(async (file) => ({ file, symbols: await this.symbols(file) })),
    );
    for (const { file, symbols } of parsed) {
      for (const { name, line, text, says } of symbols.definitions) {
        if (named || (name !== key && !(code && name === part))) continue;
        found.push({ key, kind: 'defined', path: file.path, line, text });
        if (says !== null) found.push({ key, kind: 'says', path: file.path, line, text: says });
      }
      for (const { module, names, line, text } of symbols.imports) {
        const matches = named
          ? importsFile(file.path, module, named.path)
          : module === key || names.includes(key);
        if (matches) found.push({ key, kind: 'imported', path: file.path, line, text });
      }
    }
    const isName = code || found.some(({ kind }) => kind === 'defined');
    return { found: isName ? found : [], occurs };
  }
}

/** The file of that path, or the only one whose path ends so. */
function fileOf(key: string, files: readonly SourceFile[]): SourceFile | undefined {
  if (!key.includes('.') && !key.includes('/')) return undefined;
  const clean = key.replace(/^\.\//, '');
  const exact = files.find(({ path }) => path === clean);
  if (exact) return exact;
  const ending = files.filter(({ path }) => path.endsWith(`/${clean}`));
  return ending.length === 1 ? ending[0] : undefined;
}

function lastPart(key: string): string {
  return key.slice(Math.max(key.lastIndexOf('.'), key.lastIndexOf(':'), key.lastIndexOf('/')) + 1) || key;
}

/** Imports name a file with or without its extension; an index file by its folder. */
function fileStem(path: string): string {
  const parts = path.split('/');
  const stem = parts.at(-1)!.replace(/\.[^.]*$/, '');
  return /^(?:index|__init__|mod)$/.test(stem) ? (parts.at(-2) ?? stem) : stem;
}
