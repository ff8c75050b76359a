/** A file, or a part of one, ready for the prompt: its ids and so its exact count. */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { encodeFile } from '../prompt/chat-prompt.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { SourceFile } from './files.ts';

export interface PackedFile extends PromptFile {
  readonly ids: Uint32Array;
  readonly tokens: number;
  /** Present where it is not simply part of the repository as first read. */
  readonly as?: 'outline' | 'changed' | 'mention' | 'added';
}

/** `part` is a part of `file`, or all of it when it names no lines; then ids made before are used again. */
export function packedPart(tokenizer: Tokenizer, file: SourceFile, part: PromptFile): PackedFile {
  const ids = part.lines ? encodeFile(tokenizer, part) : file.ids(tokenizer);
  return { ...part, ids, tokens: ids.length };
}
