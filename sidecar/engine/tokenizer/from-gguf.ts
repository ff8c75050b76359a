/** Builds the tokenizer that a model file describes. */
import { GgufError, quoted } from '../model/gguf-error.ts';
import { type GgufMetadata, PackedStrings } from '../model/gguf-metadata.ts';
import { bytePairMerges } from './byte-pair.ts';
import { PieceTokenizer } from './piece-tokenizer.ts';
import { sentencePieceMerges } from './sentencepiece.ts';
import { correctTypes } from './special-pieces.ts';
import type { SpecialIds, Tokenizer } from './tokenizer.ts';
import { PIECE_TYPE, PieceIndex, type Vocabulary } from './vocabulary.ts';

const MODEL = 'tokenizer.ggml.model';
const TOKENS = 'tokenizer.ggml.tokens';
const TYPES = 'tokenizer.ggml.token_type';
const SCORES = 'tokenizer.ggml.scores';
const MERGES = 'tokenizer.ggml.merges';

/** Ids are packed in pairs by the byte-pair merges. */
const SIZE_LIMIT = 1 << 20;

/**
 * The tokenizer of a Gemma 3 file. `embeddingRows` is the number of rows of the embedding: arrays that are longer
 * (262,145 and 262,208 pieces occur) are cut to it; rows beyond the arrays have empty pieces.
 * Throws {@link GgufError} that names the key.
 */
export function loadTokenizer(gguf: { readonly metadata: GgufMetadata }, embeddingRows: number): Tokenizer {
  const { metadata } = gguf;
  const model = metadata.string(MODEL);
  const vocabulary = readVocabulary(metadata, embeddingRows);
  const { pieces, types } = vocabulary;
  // Control, unknown and byte pieces are never the result of merging, so text cannot spell them by accident.
  const index = new PieceIndex(
    pieces,
    (id) =>
      types[id] !== PIECE_TYPE.control && types[id] !== PIECE_TYPE.unknown && types[id] !== PIECE_TYPE.byte,
  );
  const special = readSpecialIds(metadata, vocabulary);
  const isGemma = metadata.optionalString('general.architecture')?.startsWith('gemma') ?? false;
  switch (model) {
    case 'llama':
      return new PieceTokenizer({
        vocabulary,
        index,
        merges: sentencePieceMerges(index, readScores(metadata, vocabulary.size)),
        special,
        // llama.cpp's default is true; no Gemma was trained with a prefix, and some files lack the key.
        addSpacePrefix: metadata.optionalBoolean('tokenizer.ggml.add_space_prefix') ?? !isGemma,
        separateNewlines: false,
      });
    case 'gpt2':
    case 'gemma4':
      refuseByteLevel(metadata, index);
      return new PieceTokenizer({
        vocabulary,
        index,
        merges: bytePairMerges(metadata.strings(MERGES), index),
        special,
        addSpacePrefix: false,
        separateNewlines: true,
      });
    default:
      throw new GgufError(
        'unsupported',
        MODEL,
        metadata.byteOffset(MODEL),
        `${MODEL} is ${quoted(model)}; Gemma 3 files have "llama" (SentencePiece) or "gpt2" (byte pairs).`,
      );
  }
}

function invalid(metadata: GgufMetadata, key: string, sentence: string): GgufError {
  const at = metadata.byteOffset(key);
  return new GgufError('invalid', key, at, `${key} ${sentence} (byte ${at}).`);
}

function readVocabulary(metadata: GgufMetadata, embeddingRows: number): Vocabulary {
  if (!Number.isInteger(embeddingRows) || embeddingRows < 1 || embeddingRows > SIZE_LIMIT) {
    throw new RangeError(`A vocabulary has 1 to ${SIZE_LIMIT} rows, not ${embeddingRows}.`);
  }
  const pieces = resized(metadata.strings(TOKENS), embeddingRows);
  const types = readTypes(metadata, embeddingRows);
  correctTypes(pieces, types);
  return { size: embeddingRows, pieces, types, byteIds: findByteIds(metadata, pieces, types) };
}

function resized(strings: PackedStrings, size: number): PackedStrings {
  if (strings.length >= size) return new PackedStrings(strings.bytes, strings.offsets.subarray(0, size + 1));
  const offsets = new Uint32Array(size + 1).fill(strings.bytes.length);
  offsets.set(strings.offsets);
  return new PackedStrings(strings.bytes, offsets);
}

function readTypes(metadata: GgufMetadata, size: number): Uint8Array {
  const types = new Uint8Array(size).fill(PIECE_TYPE.normal);
  const count = metadata.strings(TOKENS).length;
  types.fill(PIECE_TYPE.unused, Math.min(count, size));
  if (!metadata.has(TYPES)) return types;
  const declared = metadata.integers(TYPES);
  if (declared.length < count)
    throw invalid(metadata, TYPES, `has ${declared.length} entries for ${count} pieces`);
  for (let id = 0; id < Math.min(count, size); id++) {
    const type = declared[id]!;
    if (type < PIECE_TYPE.undefined || type > PIECE_TYPE.byte) {
      throw invalid(metadata, TYPES, `has the unknown type ${type} at piece ${id}`);
    }
    types[id] = type;
  }
  return types;
}

const BYTE_PIECE = /^<0x[0-9A-F]{2}>$/;

/** Where no piece is typed as a byte, pieces of the form "<0x0A>" become bytes. */
function findByteIds(metadata: GgufMetadata, pieces: PackedStrings, types: Uint8Array): Int32Array {
  const unknown = metadata.optionalUnsigned('tokenizer.ggml.unknown_token_id') ?? 0;
  const byteIds = new Int32Array(256).fill(Math.min(unknown, pieces.length - 1));
  const typed = types.includes(PIECE_TYPE.byte);
  for (let id = 0; id < pieces.length; id++) {
    const length = pieces.offsets[id + 1]! - pieces.offsets[id]!;
    if (typed ? types[id] !== PIECE_TYPE.byte : length !== 6) continue;
    const text = pieces.text(id);
    if (BYTE_PIECE.test(text)) {
      types[id] = PIECE_TYPE.byte;
      byteIds[Number.parseInt(text.slice(3, 5), 16)] = id;
    } else if (typed) {
      throw invalid(
        metadata,
        TOKENS,
        `has the byte piece ${quoted(text)} at ${id}, which is not of the form "<0x0A>"`,
      );
    }
  }
  return byteIds;
}

function readScores(metadata: GgufMetadata, size: number): Float64Array {
  const declared = metadata.floats(SCORES);
  const count = metadata.strings(TOKENS).length;
  if (declared.length < count)
    throw invalid(metadata, SCORES, `has ${declared.length} entries for ${count} pieces`);
  const scores = new Float64Array(size);
  for (let id = 0; id < Math.min(count, size); id++) {
    const score = declared[id]!;
    if (!Number.isFinite(score))
      throw invalid(metadata, SCORES, `is ${score} at piece ${id}, not a finite number`);
    scores[id] = score;
  }
  return scores;
}

/** GPT-2's own vocabularies write a space as "Ġ" and bytes as letters; no Gemma does. */
function refuseByteLevel(metadata: GgufMetadata, index: PieceIndex): void {
  if (index.findText('\u0120') >= 0 && index.findText('\u2581') < 0) {
    throw new GgufError(
      'unsupported',
      TOKENS,
      metadata.byteOffset(TOKENS),
      `${TOKENS} is a byte-level vocabulary, which no Gemma model has. Choose a Gemma 3 file.`,
    );
  }
}

function readSpecialIds(metadata: GgufMetadata, { pieces, types, size }: Vocabulary): SpecialIds {
  const literals = new PieceIndex(pieces, (id) => types[id] !== PIECE_TYPE.byte);
  const byText = (text: string): number | null => {
    const id = literals.findText(text);
    return id < 0 ? null : id;
  };
  const byKey = (name: string, fallback: number): number => {
    const key = `tokenizer.ggml.${name}_token_id`;
    const id = metadata.optionalUnsigned(key) ?? Math.min(fallback, size - 1);
    if (id >= size) throw invalid(metadata, key, `is ${id}, outside the vocabulary of ${size} pieces`);
    return id;
  };
  const bos = byKey('bos', byText('<bos>') ?? 2);
  const eos = byKey('eos', byText('<eos>') ?? 1);
  const prefix = byText('<|fim_prefix|>');
  const suffix = byText('<|fim_suffix|>');
  const middle = byText('<|fim_middle|>');
  return {
    bos,
    eos,
    unknown: byKey('unknown', byText('<unk>') ?? 3),
    pad: byKey('padding', byText('<pad>') ?? 0),
    // Vocabularies of other models (in tests) have no turns; theirs begin and end as a text does.
    startOfTurn: byText('<start_of_turn>') ?? byText('<|turn>') ?? bos,
    endOfTurn: byText('<end_of_turn>') ?? byText('<turn|>') ?? eos,
    startOfImage: byText('<start_of_image>'),
    endOfImage: byText('<end_of_image>'),
    fim: prefix !== null && suffix !== null && middle !== null ? { prefix, suffix, middle } : null,
  };
}
