/** The tokenizer alone, without loading weights. */
import { readGemma3Config } from '../engine/model/config.ts';
import { readGguf } from '../engine/model/gguf.ts';
import { loadTokenizer } from '../engine/tokenizer/from-gguf.ts';
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';

/** Throws GgufError for a file that is no Gemma 3 model. */
export function tokenizerOfModel(path: string): Tokenizer {
  const gguf = readGguf(path);
  return loadTokenizer(gguf, readGemma3Config(gguf).config.vocabulary);
}
