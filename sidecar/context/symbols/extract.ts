/** From a syntax tree to what a file defines and imports. */
import type { Node } from 'web-tree-sitter';
import type { Language } from './languages.ts';

export interface Definition {
  readonly name: string;
  /** 1-based, of the line that names it. */
  readonly line: number;
  /** That line, trimmed, joined with the following ones until its parameter list closes. */
  readonly text: string;
  /** First sentence of its comment. */
  readonly says: string | null;
  /** How many definitions it lies in: 0 is top level. */
  readonly depth: number;
}

export interface Import {
  readonly line: number;
  readonly text: string;
  /** What is imported from, as written; empty where the grammar has no such thing. */
  readonly module: string;
  readonly names: readonly string[];
}

export interface FileSymbols {
  readonly definitions: readonly Definition[];
  readonly imports: readonly Import[];
}

export const NO_SYMBOLS: FileSymbols = { definitions: [], imports: [] };

/** Bounds for files that are written by programs or by nobody who means well. */
const MOST_DEFINITIONS = 5000;
const MOST_DEPTH = 24;
const LONGEST_SIGNATURE_LINES = 40;
const LONGEST_SENTENCE = 400;

export function symbolsOf(root: Node, text: string, language: Language): FileSymbols {
  const lines = text.split('\n');
  const definitions: Definition[] = [];
  const imports: Import[] = [];
  /** `outer` is the outermost wrapper of `node` (an export, a decorator): comments stand before it. */
  const visit = (node: Node, outer: Node, depth: number, level: number): void => {
    if (level > MOST_DEPTH || definitions.length >= MOST_DEFINITIONS) return;
    if (language.imports.has(node.type) && addImport(node, lines, imports)) return;
    if (language.definitions.has(node.type)) {
      const name = nameOf(node);
      if (name) {
        const line = name.startPosition.row + 1;
        const says = commentOf(outer) ?? docstringOf(node);
        definitions.push({ name: lastPart(name.text), line, text: signatureAt(lines, line), says, depth });
      }
      const body = bodyOf(node);
      if (body && language.containers.has(body.type) && !isFunction(node)) {
        for (const child of body.namedChildren) if (child) visit(child, child, depth + 1, level + 1);
      }
      return;
    }
    if (!language.containers.has(node.type)) return;
    const wrapper = WRAPPERS.test(node.type);
    for (const child of node.namedChildren) {
      if (child) visit(child, wrapper ? outer : child, depth, level + 1);
    }
  };
  for (const child of root.namedChildren) if (child) visit(child, child, 0, 0);
  addImportsWithin(root, text, language, lines, imports);
  return { definitions, imports };
}

/** Words that an import within a function, or one that is a call, has in any language. */
const IMPORT_WORDS = /\b(?:import|require|use|using|include)\b/;

/** Those that the walk over definitions does not come by: within functions, and calls that import. */
function addImportsWithin(
  root: Node,
  text: string,
  { imports: types, importCalls }: Language,
  lines: readonly string[],
  imports: Import[],
): void {
  if (!IMPORT_WORDS.test(text)) return;
  const known = new Set(imports.map(({ line }) => line));
  const before = imports.length;
  for (const node of root.descendantsOfType([...types, ...(importCalls ? ['call_expression'] : [])])) {
    if (!node || imports.length >= MOST_DEFINITIONS || known.has(node.startPosition.row + 1)) continue;
    if (node.type === 'call_expression') addImportCall(node, lines, imports);
    else addImport(node, lines, imports);
  }
  if (imports.length > before) imports.sort((a, b) => a.line - b.line);
}

/** `import('./a.ts')` and `require('./a.js')`, with the names that a pattern takes from it. */
function addImportCall(node: Node, lines: readonly string[], imports: Import[]): void {
  const callee = node.childForFieldName('function');
  if (callee?.type !== 'import' && callee?.text !== 'require') return;
  const source = node.childForFieldName('arguments')?.namedChild(0);
  if (source?.type !== 'string') return;
  let declarator = node.parent;
  if (declarator?.type === 'await_expression') declarator = declarator.parent;
  const pattern = declarator?.type === 'variable_declarator' ? declarator.childForFieldName('name') : null;
  const names = pattern?.descendantsOfType([
    'identifier',
    'shorthand_property_identifier_pattern',
    'property_identifier',
  ]);
  const line = node.startPosition.row + 1;
  imports.push({
    line,
    text: (lines[line - 1] ?? '').trim(),
    module: unquoted(source.text),
    names: [...new Set(names?.flatMap((name) => name?.text ?? []))],
  });
}

/** They hold one definition, whose comment stands before them. */
const WRAPPERS =
  /^(?:export_statement|ambient_declaration|decorated_definition|template_declaration|lexical_declaration|variable_declaration|type_declaration|const_declaration|var_declaration|field_declaration|expression_statement)$/;

function isFunction(node: Node): boolean {
  return /function|method|constructor/.test(node.type);
}

function bodyOf(node: Node): Node | null {
  return node.childForFieldName('body') ?? node.childForFieldName('value') ?? node.childForFieldName('type');
}

/** The node that carries the name; null where it is not a plain one (a pattern, an assignment to a member). */
function nameOf(node: Node): Node | null {
  if (node.type === 'declaration' || node.type === 'field_declaration') {
    // In C and C++, prototypes and globals; members without a parameter list are told by their class.
    const declarator = node.childForFieldName('declarator');
    return declarator && /function_declarator|init_declarator/.test(declarator.toString())
      ? declaredName(declarator)
      : null;
  }
  if (/^(?:struct|class|union|enum)_specifier$/.test(node.type) && !node.childForFieldName('body'))
    return null;
  const declarator = node.childForFieldName('declarator');
  if (declarator) return declaredName(declarator);
  const name = node.childForFieldName('name') ?? node.childForFieldName('left');
  if (name) return NAMES.test(name.type) ? name : null;
  return node.namedChildren.find((child) => child !== null && NAMES.test(child.type)) ?? null;
}

const NAMES =
  /^(?:identifier|type_identifier|property_identifier|private_property_identifier|field_identifier|qualified_identifier|namespace_identifier|destructor_name|operator_name|constant|scope_resolution|name|word)$/;

function declaredName(declarator: Node): Node | null {
  let node: Node | null = declarator;
  for (let i = 0; node && i < MOST_DEPTH; i++) {
    if (NAMES.test(node.type)) return node;
    node = node.childForFieldName('declarator') ?? node.namedChildren.find((c) => c !== null) ?? null;
  }
  return null;
}

/** `Sum::add` and `Sum.add` are asked about as `add`. */
function lastPart(name: string): string {
  return name.slice(Math.max(name.lastIndexOf(':'), name.lastIndexOf('.')) + 1);
}

function signatureAt(lines: readonly string[], line: number): string {
  let text = (lines[line - 1] ?? '').trim();
  let open = openParentheses(text);
  for (let i = line; open > 0 && i < lines.length && i < line + LONGEST_SIGNATURE_LINES; i++) {
    const more = lines[i]!.trim();
    text += ` ${more}`;
    open += openParentheses(more);
  }
  return text;
}

function openParentheses(text: string): number {
  let open = 0;
  for (const character of text) {
    if (character === '(') open++;
    else if (character === ')') open--;
  }
  return open;
}

/** The comment that ends on the line before. */
function commentOf(node: Node): string | null {
  const parts: string[] = [];
  let below = node;
  for (let above = node.previousSibling; above !== null; above = above.previousSibling) {
    if (!above.type.includes('comment')) {
      if (!/attribute|decorator/.test(above.type)) break;
    } else {
      // A line comment of some grammars ends at the start of the next line.
      const end = above.endPosition.column === 0 ? above.endPosition.row - 1 : above.endPosition.row;
      if (end + 1 < below.startPosition.row) break;
      const before = above.previousSibling;
      if (before && before.endPosition.row === above.startPosition.row && before.endPosition.column > 0)
        break;
      parts.unshift(above.text);
    }
    below = above;
  }
  return parts.length === 0 ? null : firstSentence(parts.join('\n'));
}

function docstringOf(node: Node): string | null {
  const first = node.childForFieldName('body')?.namedChild(0);
  const string = first?.type === 'expression_statement' ? first.namedChild(0) : first;
  if (string?.type !== 'string') return null;
  return firstSentence(string.text.replace(/^[a-zA-Z]*(?:"""|'''|"|')|(?:"""|'''|"|')$/g, ''));
}

/** Without comment marks; up to the first full stop, blank line or tag. */
export function firstSentence(comment: string): string | null {
  const words: string[] = [];
  let length = 0;
  for (const line of comment.split('\n')) {
    const text = line
      .replace(/\*+\/\s*$/, '')
      .replace(/^\s*(?:\/\*+!?|\*+|\/\/+!?|#+|--+)/, '')
      .replace(/<\/?[a-z]{1,20}>/g, '')
      .trim();
    if (text === '' || text.startsWith('@')) {
      if (words.length > 0) break;
      continue;
    }
    words.push(text);
    length += text.length;
    if (/[.!?]$/.test(text) || length > LONGEST_SENTENCE) break;
  }
  const text = words.join(' ').replace(/\s+/g, ' ');
  if (text === '' || !/\p{L}{2}/u.test(text) || /^(?:eslint|biome|@?ts-|prettier|noqa|type:)/.test(text))
    return null;
  return /^.*?[.!?](?=\s|$)/.exec(text)?.[0] ?? text;
}

/** False if `node` only looks like an import: an export without a source, a call of something else. */
function addImport(node: Node, lines: readonly string[], imports: Import[]): boolean {
  if (node.type === 'call' && !/^(?:require|require_relative|load)$/.test(node.namedChild(0)?.text ?? ''))
    return false;
  const source =
    node.childForFieldName('source') ??
    node.childForFieldName('module_name') ??
    node.childForFieldName('path') ??
    node.descendantsOfType([
      'string',
      'string_literal',
      'system_lib_string',
      'dotted_name',
      'scoped_identifier',
    ])[0] ??
    null;
  if (node.type === 'export_statement' && !node.childForFieldName('source')) return false;
  const line = node.startPosition.row + 1;
  const names = new Set<string>();
  for (const leaf of node.descendantsOfType([
    'identifier',
    'type_identifier',
    'property_identifier',
    'name',
    'namespace_identifier',
  ])) {
    if (leaf) names.add(leaf.text);
  }
  const several = node.text.trim().includes('\n');
  const text = several ? node.text.replace(/\s+/g, ' ') : (lines[line - 1] ?? '').trim();
  imports.push({ line, text, module: unquoted(source?.text ?? ''), names: [...names] });
  return true;
}

function unquoted(text: string): string {
  return text.replace(/^["'<`]|["'>`]$/g, '');
}
