/** A model file opened and understood, before any weight is read: the one place where its errors get its name. */
import { type ReadConfig, readGemma3Config } from './model/config.ts';
import { type GgufFile, readGguf } from './model/gguf.ts';
import { namingFile } from './model/gguf-error.ts';
import { loadTokenizer } from './tokenizer/from-gguf.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

export interface ModelHeader extends ReadConfig {
  readonly gguf: GgufFile;
}

export interface ModelFile extends ModelHeader {
  readonly tokenizer: Tokenizer;
}

/**
 * What can be told without the vocabulary, which takes half a second to understand.
 *
 * @throws GgufError, with the path in its sentence, for a file that is damaged or no Gemma 3 model; the system's error for
 * one that cannot be opened.
 */
export function openModelHeader(path: string): ModelHeader {
  const gguf = readGguf(path);
  return namingFile(path, () => ({ gguf, ...readGemma3Config(gguf) }));
}

/** @throws GgufError, with the path in its sentence. */
export function openTokenizer({ gguf, config }: ModelHeader): Tokenizer {
  return namingFile(gguf.path, () => loadTokenizer(gguf, config.vocabulary));
}

/** Both. */
export function openModelFile(path: string): ModelFile {
  const header = openModelHeader(path);
  return { ...header, tokenizer: openTokenizer(header) };
}
