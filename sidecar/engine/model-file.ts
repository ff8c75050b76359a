/** A model file opened and understood, before any weight is read: the one place where its errors get its name. */
import { type ReadConfig, readGemma3Config } from './model/config.ts';
import { type GgufFile, readGguf } from './model/gguf.ts';
import { namingFile } from './model/gguf-error.ts';
import { loadTokenizer } from './tokenizer/from-gguf.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

export interface ModelFile extends ReadConfig {
  readonly gguf: GgufFile;
  readonly tokenizer: Tokenizer;
}

/**
 * @throws GgufError, with the path in its sentence, for a file that is damaged or no Gemma 3 model; the system's error for
 * one that cannot be opened.
 */
export function openModelFile(path: string): ModelFile {
  const gguf = readGguf(path);
  return namingFile(path, () => {
    const { config, notes } = readGemma3Config(gguf);
    return { gguf, config, notes, tokenizer: loadTokenizer(gguf, config.vocabulary) };
  });
}
