/**
 * `tokenizer.json` of a Gemma model as GGUF's SentencePiece keys.
 *
 * Gemma's merges were made from its SentencePiece model: every split of every piece, in the order of the scores. So the
 * rank of the first merge that makes a piece gives back the order in which SentencePiece merges, which is all that its
 * scores are used for.
 */
import { quoted } from '../gguf-error.ts';
import { GGUF_LIMITS, type GgufValue, PackedStrings } from '../gguf-metadata.ts';
import { asObject, CheckpointError, isObject, type JsonObject } from './json-file.ts';

/** Token types by their number in a GGUF file. */
const TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

const BYTE_PIECE = /^<0x[0-9A-F]{2}>$/;
/** Of pieces that no merge makes: characters and literal pieces. */
const LOWEST_SCORE = -1e9;

export interface TokenizerMetadata {
  readonly metadata: Readonly<Record<string, GgufValue>>;
  /** Pieces listed, at most `rows`. */
  readonly size: number;
}

/**
 * @param rows of the embedding; pieces beyond them are left out.
 * @throws CheckpointError for a tokenizer that is not byte-pair merging over Gemma's kind of pieces.
 */
export function tokenizerMetadata(json: JsonObject, rows: number, file: string): TokenizerMetadata {
  const { model, added_tokens: addedTokens } = json;
  const { type, byte_fallback: byteFallback, vocab, merges } = asObject(model);
  if (type !== 'BPE' || byteFallback !== true || !isObject(vocab)) {
    throw new CheckpointError(
      'unsupported',
      file,
      'describes no byte-pair tokenizer with byte fallback, which every Gemma 3 has.',
    );
  }
  const vocabulary = new Pieces(file);
  for (const [text, id] of Object.entries(vocab)) vocabulary.add(text, id, TYPE.normal);
  for (const added of Array.isArray(addedTokens) ? addedTokens : []) {
    const { content, id, special } = asObject(added);
    if (typeof content !== 'string') {
      throw new CheckpointError('invalid', file, 'has an added token without content.');
    }
    vocabulary.add(content, id, special === true ? TYPE.control : TYPE.userDefined);
  }
  if (!vocabulary.ids.has('\u2581')) {
    throw new CheckpointError(
      'unsupported',
      file,
      'has no piece "\u2581" for a space; it is not a Gemma tokenizer.',
    );
  }
  const size = Math.min(rows, vocabulary.size);
  const scores = mergeScores(merges, vocabulary.ids, size, file);
  return {
    size,
    metadata: {
      'tokenizer.ggml.model': { kind: 'string', value: 'llama' },
      'tokenizer.ggml.pre': { kind: 'string', value: 'default' },
      'tokenizer.ggml.tokens': {
        kind: 'strings',
        value: PackedStrings.from(Array.from({ length: size }, (_, id) => vocabulary.text(id))),
      },
      'tokenizer.ggml.scores': { kind: 'floats', type: 'f32', value: scores },
      'tokenizer.ggml.token_type': {
        kind: 'integers',
        type: 'i32',
        value: Int32Array.from({ length: size }, (_, id) => vocabulary.type(id)),
      },
      ...specialIds(vocabulary.ids, size),
      'tokenizer.ggml.add_bos_token': { kind: 'boolean', value: true },
      'tokenizer.ggml.add_eos_token': { kind: 'boolean', value: false },
      'tokenizer.ggml.add_space_prefix': { kind: 'boolean', value: false },
    },
  };
}

class Pieces {
  readonly ids = new Map<string, number>();
  readonly #file: string;
  readonly #texts: (string | undefined)[] = [];
  readonly #types: (number | undefined)[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  get size(): number {
    return this.#texts.length;
  }

  /** Later types win: added tokens are listed in the vocabulary too. */
  add(text: string, id: unknown, type: number): void {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= GGUF_LIMITS.arrayElements) {
      throw new CheckpointError('invalid', this.#file, `gives ${quoted(text)} the id ${quoted(String(id))}.`);
    }
    if ((this.#texts[id] ?? text) !== text) {
      throw new CheckpointError(
        'invalid',
        this.#file,
        `gives ${quoted(this.#texts[id]!)} and ${quoted(text)} the same id ${id}.`,
      );
    }
    if (Buffer.byteLength(text) > GGUF_LIMITS.elementBytes) {
      throw new CheckpointError(
        'invalid',
        this.#file,
        `has a piece of more than ${GGUF_LIMITS.elementBytes} bytes.`,
      );
    }
    this.ids.set(text, id);
    this.#texts[id] = text;
    this.#types[id] = text === '<unk>' ? TYPE.unknown : BYTE_PIECE.test(text) ? TYPE.byte : type;
  }

  /** Ids that are not used get a piece that says so, as llama.cpp's converter gives them. */
  text(id: number): string {
    return this.#texts[id] ?? `[PAD${id}]`;
  }
  type(id: number): number {
    return this.#types[id] ?? TYPE.unused;
  }
}

/** Minus the rank of the first merge that makes a piece, F32 `[size]`. */
function mergeScores(
  merges: unknown,
  ids: ReadonlyMap<string, number>,
  size: number,
  file: string,
): Float32Array {
  if (!Array.isArray(merges) || merges.length > GGUF_LIMITS.arrayElements) {
    throw new CheckpointError('invalid', file, 'has no list of merges, or one that is too long.');
  }
  const scores = new Float32Array(size).fill(LOWEST_SCORE);
  for (const [rank, merge] of merges.entries()) {
    const id = ids.get(joined(merge, rank, file));
    if (id !== undefined && id < size && scores[id] === LOWEST_SCORE) scores[id] = -rank;
  }
  return scores;
}

/** A merge is written "left right", or as a pair since tokenizers 0.20. */
function joined(merge: unknown, rank: number, file: string): string {
  if (typeof merge === 'string') {
    const separator = merge.indexOf(' ', 1);
    if (separator > 0) return merge.slice(0, separator) + merge.slice(separator + 1);
  } else if (Array.isArray(merge) && merge.length === 2) {
    const [left, right] = merge as unknown[];
    if (typeof left === 'string' && typeof right === 'string') return left + right;
  }
  throw new CheckpointError('invalid', file, `has a merge ${rank} that is not two pieces.`);
}

function specialIds(ids: ReadonlyMap<string, number>, size: number): Readonly<Record<string, GgufValue>> {
  const found: Record<string, GgufValue> = {};
  for (const [key, text] of [
    ['bos', '<bos>'],
    ['eos', '<eos>'],
    ['unknown', '<unk>'],
    ['padding', '<pad>'],
  ] as const) {
    const value = ids.get(text);
    if (value !== undefined && value < size) {
      found[`tokenizer.ggml.${key}_token_id`] = { kind: 'integer', type: 'u32', value };
    }
  }
  return found;
}
