/** Vocabularies for tests, as the metadata that a file would carry. */
import { GgufMetadata, type GgufValue, PackedStrings } from '../../sidecar/engine/model/gguf-metadata.ts';

/** Metadata from plain values: numbers become integers, arrays of numbers integers too unless wrapped by `floats`. */
export function metadataOf(values: Readonly<Record<string, GgufValue>>): GgufMetadata {
  return new GgufMetadata(
    new Map(Object.entries(values).map(([key, value]) => [key, { value, byteOffset: 24 }])),
  );
}

export interface TestPiece {
  readonly text: string | Uint8Array;
  readonly score?: number;
  /** Number as in the file; 1 (normal) by default. */
  readonly type?: number;
}

export const CONTROL = 3;
export const USER_DEFINED = 4;
export const BYTE = 6;

/** Gemma's layout in small: control pieces, white space, tags, bytes, then words by descending score. */
export function gemmaLikePieces(words: readonly string[]): TestPiece[] {
  const control = [
    '<pad>',
    '<eos>',
    '<bos>',
    '<unk>',
    '<start_of_turn>',
    '<end_of_turn>',
    '<start_of_image>',
    '<end_of_image>',
    '<|fim_prefix|>',
    '<|fim_suffix|>',
    '<|fim_middle|>',
  ];
  const runs = (text: string, from: number) =>
    Array.from({ length: 32 - from }, (_, i) => ({ text: text.repeat(i + from), type: USER_DEFINED }));
  return [
    ...control.map((text) => ({ text, type: CONTROL })),
    ...runs('\n', 1),
    ...runs(' ', 2),
    ...runs('\t', 1),
    ...['<table>', '</table>', '<b>', '</b>', '<code>', '</code>'].map((text) => ({
      text,
      type: USER_DEFINED,
    })),
    ...Array.from({ length: 256 }, (_, byte) => ({
      text: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
      type: BYTE,
    })),
    ...words.map((text, i) => ({ text, score: -i })),
  ];
}

/** The tokenizer keys of a SentencePiece vocabulary. */
export function sentencePieceValues(pieces: readonly TestPiece[]): Record<string, GgufValue> {
  return {
    'general.architecture': { kind: 'string', value: 'gemma3' },
    'tokenizer.ggml.model': { kind: 'string', value: 'llama' },
    'tokenizer.ggml.tokens': { kind: 'strings', value: PackedStrings.from(pieces.map((p) => p.text)) },
    'tokenizer.ggml.scores': {
      kind: 'floats',
      type: 'f32',
      value: Float32Array.from(pieces, (p) => p.score ?? -1000),
    },
    'tokenizer.ggml.token_type': {
      kind: 'integers',
      type: 'i32',
      value: Int32Array.from(pieces, (p) => p.type ?? 1),
    },
    'tokenizer.ggml.bos_token_id': { kind: 'integer', type: 'u32', value: 2 },
    'tokenizer.ggml.eos_token_id': { kind: 'integer', type: 'u32', value: 1 },
    'tokenizer.ggml.unknown_token_id': { kind: 'integer', type: 'u32', value: 3 },
    'tokenizer.ggml.padding_token_id': { kind: 'integer', type: 'u32', value: 0 },
    'tokenizer.ggml.add_space_prefix': { kind: 'boolean', value: false },
  };
}
