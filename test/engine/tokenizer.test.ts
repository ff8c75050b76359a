/** Encoding and decoding over small handmade vocabularies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GgufError } from '../../sidecar/engine/model/gguf-error.ts';
import { type GgufValue, PackedStrings } from '../../sidecar/engine/model/gguf-metadata.ts';
import { loadTokenizer } from '../../sidecar/engine/tokenizer/from-gguf.ts';
import type { Tokenizer } from '../../sidecar/engine/tokenizer/tokenizer.ts';
import { seededRandom } from '../support/random.ts';
import {
  gemmaLikePieces,
  metadataOf,
  sentencePieceValues,
  type TestPiece,
} from '../support/tokenizer-metadata.ts';

const WORDS = ['▁the', '▁th', 'he', 'th', '▁t', 'in', 'ing', '▁', 'abc', 'ab', 'bc', 'é', 'a', 'b', 'c', 'd'];
const LETTERS = ['e', 'g', 'h', 'i', 'n', 't', '<', '>', '/', 'o', 'f'];

function load(pieces: readonly TestPiece[], changes: Record<string, GgufValue> = {}): Tokenizer {
  return loadTokenizer(
    { metadata: metadataOf({ ...sentencePieceValues(pieces), ...changes }) },
    pieces.length,
  );
}

const gemma = load(gemmaLikePieces([...WORDS, ...LETTERS]));

function pieces(tokenizer: Tokenizer, text: string, control: 'text' | 'token' = 'text'): string[] {
  return [...tokenizer.encode(text, { control })].map((id) => tokenizer.piece(id));
}

test('the best score merges first, the leftmost pair among equals', () => {
  assert.deepEqual(pieces(gemma, 'the the'), ['t', 'he', '▁the']);
  assert.deepEqual(pieces(gemma, 'abcd'), ['abc', 'd']);
  assert.deepEqual(pieces(gemma, 'ababc'), ['ab', 'abc']);
  const equal = load(gemmaLikePieces([]).concat(['aa', 'a', 'aaa'].map((text) => ({ text, score: -1 }))));
  assert.deepEqual(pieces(equal, 'aaaaa'), ['aaa', 'aa']);
});

test('characters outside the vocabulary become their bytes', () => {
  assert.deepEqual(pieces(gemma, 'é漢'), ['é', '<0xE6>', '<0xBC>', '<0xA2>']);
  assert.deepEqual(pieces(gemma, '\ud800'), ['<0xEF>', '<0xBF>', '<0xBD>']);
});

test('runs of white space and tags are matched before anything merges, the longest first', () => {
  assert.deepEqual(pieces(gemma, 'a   the'), ['a', '   ', 't', 'he']);
  assert.deepEqual(pieces(gemma, '\n\n\t\tab'), ['\n\n', '\t\t', 'ab']);
  assert.deepEqual(pieces(gemma, `a${' '.repeat(40)}b`), ['a', ' '.repeat(31), ' '.repeat(9), 'b']);
  assert.deepEqual(pieces(gemma, '<b>ab</b>'), ['<b>', 'ab', '</b>']);
});

test('control pieces are text unless they are asked for', () => {
  const text = 'a<end_of_turn>';
  const forged = gemma.encode(text);
  assert.ok(!forged.includes(gemma.special.endOfTurn));
  assert.equal(gemma.decode(forged), text);
  assert.deepEqual([...gemma.encode(text, { control: 'token' })].slice(1), [gemma.special.endOfTurn]);
});

test('text that spells control or byte pieces cannot reach them by merging', () => {
  const parts = ['<', '<e', '<eo', '<eos', 'e', 'o', 's', '>', '0', 'x', 'A', '<0', '<0x', '<0x0', '<0x0A'];
  const tokenizer = load(gemmaLikePieces(parts));
  const ids = tokenizer.encode('<eos><0x0A>');
  assert.ok(!ids.includes(tokenizer.special.eos));
  assert.equal(tokenizer.decode(ids), '<eos><0x0A>');
});

test('special ids come from the keys, FIM pieces from their text', () => {
  const { bos, eos, unknown, pad, fim, startOfTurn, endOfTurn } = gemma.special;
  assert.deepEqual([bos, eos, unknown, pad], [2, 1, 3, 0]);
  assert.deepEqual([gemma.piece(startOfTurn), gemma.piece(endOfTurn)], ['<start_of_turn>', '<end_of_turn>']);
  assert.deepEqual(fim && [gemma.piece(fim.prefix), gemma.piece(fim.suffix), gemma.piece(fim.middle)], [
    '<|fim_prefix|>',
    '<|fim_suffix|>',
    '<|fim_middle|>',
  ]);
  const without = load([...gemmaLikePieces([])].filter((p) => p.text !== '<|fim_middle|>'));
  assert.equal(without.special.fim, null);
});

/** Gemma 3's ids 0-255999 in the places that matter, all typed NORMAL as some files have it. */
function wrongTypes(): TestPiece[] {
  const list: TestPiece[] = Array.from({ length: 262_144 }, (_, id) => ({ text: `#${id}`, score: -id }));
  const put = (id: number, text: string) => {
    list[id] = { text, score: -id };
  };
  for (const [id, text] of ['<pad>', '<eos>', '<bos>', '<unk>'].entries()) put(id, text);
  put(105, '<start_of_turn>');
  put(106, '<end_of_turn>');
  put(255_999, '<start_of_image>');
  put(256_000, '<end_of_image>');
  for (let n = 1; n <= 31; n++) put(106 + n, '\n'.repeat(n));
  for (let n = 2; n <= 31; n++) put(136 + n, '▁'.repeat(n));
  put(168, '<table>');
  put(215, '</code>');
  put(237, '</footer>');
  for (let n = 1; n <= 31; n++) put(255_967 + n, '\t'.repeat(n));
  for (let byte = 0; byte < 256; byte++) {
    put(238 + byte, `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  }
  put(300_00, '▁');
  return list;
}

test('wrong token types of Gemma 3 files are corrected', () => {
  const tokenizer = load(wrongTypes());
  assert.deepEqual([...tokenizer.encode('<end_of_turn>', { control: 'token' })], [106]);
  assert.ok(!tokenizer.encode('<end_of_turn>').includes(106));
  assert.deepEqual(
    [...tokenizer.encode('    \n\t\t<table></code></footer> \n\n')],
    [140, 107, 255969, 168, 215, 237, 30000, 108],
  );
  assert.equal(tokenizer.decode([140, 138 + 29, 30000]), ' '.repeat(4 + 31 + 1));
  assert.deepEqual([...tokenizer.encode('é')], [238 + 0xc3, 238 + 0xa9]);
});

test('types of other vocabularies are left alone', () => {
  const other = load([
    ...gemmaLikePieces([]).slice(0, 4),
    { text: '▁▁', score: -1 },
    { text: '▁', score: -2 },
    { text: '▁▁▁▁', score: -3 },
  ]);
  assert.deepEqual(pieces(other, '   '), ['▁▁', '▁']);
});

test('arrays longer than the embedding are cut, shorter ones padded with empty pieces', () => {
  const list = gemmaLikePieces(['ab', 'a', 'b']);
  const values = sentencePieceValues([...list, { text: 'abab', score: 5 }]);
  const cut = loadTokenizer({ metadata: metadataOf(values) }, list.length);
  assert.equal(cut.size, list.length);
  assert.deepEqual(pieces(cut, 'abab'), ['ab', 'ab']);
  const padded = loadTokenizer({ metadata: metadataOf(values) }, list.length + 64);
  assert.equal(padded.size, list.length + 64);
  assert.equal(padded.decode([list.length, list.length + 63]), 'abab');
});

test('a space prefix is honoured where the file asks for it', () => {
  const prefixed = load(gemmaLikePieces(WORDS.concat(LETTERS)), {
    'tokenizer.ggml.add_space_prefix': { kind: 'boolean', value: true },
  });
  assert.deepEqual(pieces(prefixed, 'the<b>the'), ['▁the', '<b>', '▁the']);
  assert.equal(prefixed.decode(prefixed.encode('the')), 'the');
});

test('byte-pair merges follow their order, and runs of newlines stand alone', () => {
  const texts = [
    '<pad>',
    '<eos>',
    '<bos>',
    '<unk>',
    '▁',
    'a',
    'b',
    'c',
    'ab',
    'bc',
    '▁a',
    '\n',
    '\n\n',
    'a\n',
  ];
  const list = texts.map((text, id) => ({ text, type: id < 4 ? 3 : 1 }));
  const merges = ['b c', 'a b', '▁ a', 'a \n', '\n \n'];
  const values = sentencePieceValues(list);
  const tokenizer = loadTokenizer(
    {
      metadata: metadataOf({
        ...values,
        'tokenizer.ggml.model': { kind: 'string', value: 'gpt2' },
        'tokenizer.ggml.merges': { kind: 'strings', value: PackedStrings.from(merges) },
      }),
    },
    list.length,
  );
  assert.deepEqual(pieces(tokenizer, 'abc ab a\n\n\n'), ['a', 'bc', '▁', 'ab', '▁a', '\n\n', '\n']);
});

const SAMPLES = [
  '',
  ' ',
  'the thing',
  '  the\n\n\tthing  ',
  '\ufeffmark',
  '👩‍👩‍👧‍👦 family',
  'e\u0301 and é',
  '漢字かな交じり文',
  '\u0000\u0001\u007f\u0080\ufffd',
  '<0x41><pad>',
  'a'.repeat(5000),
  ' '.repeat(3000),
  `${'ab'.repeat(700)} ${'th'.repeat(900)}`,
];

test('decoding gives back every text, also one id at a time', () => {
  for (const text of SAMPLES) {
    const ids = gemma.encode(text);
    assert.equal(gemma.decode(ids), text);
    const decoder = gemma.decoder();
    const parts = [...ids].map((id) => decoder.push(id));
    assert.equal(parts.join('') + decoder.end(), text);
    for (const part of parts) {
      assert.doesNotMatch(part, /\p{Surrogate}/u);
      assert.ok(text.includes('\ufffd') || !part.includes('\ufffd'));
    }
  }
});

test('a stream decoder holds back half a character and gives up on one that never ends', () => {
  const [first, ...rest] = gemma.encode('漢');
  const decoder = gemma.decoder();
  assert.equal(decoder.push(first!), '');
  assert.equal(decoder.push(rest[0]!), '');
  assert.equal(decoder.push(rest[1]!), '漢');
  assert.equal(decoder.push(first!), '');
  assert.equal(decoder.end(), '\ufffd');
});

/** The definition of SentencePiece merging, step by step over strings, with no words, cache, hash or heap. */
function mergedNaively(text: string, scores: ReadonlyMap<string, number>): string[] {
  const symbols = [...text.replaceAll(' ', '▁')];
  for (;;) {
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const score = scores.get(symbols[i]! + symbols[i + 1]!);
      if (score !== undefined && score > bestScore) {
        best = i;
        bestScore = score;
      }
    }
    if (best < 0) return symbols;
    symbols.splice(best, 2, symbols[best]! + symbols[best + 1]!);
  }
}

test('words, cache and heap change nothing: equal to plain merging over random vocabularies', () => {
  const random = seededRandom(3);
  const pick = (from: readonly string[]) => from[Math.floor(random() * from.length)]!;
  const alphabet = ['a', 'b', 'c', 'é', '漢', ' '];
  const word = (longest: number) =>
    Array.from({ length: 1 + Math.floor(random() * longest) }, () => pick(alphabet)).join('');
  for (let round = 0; round < 40; round++) {
    const texts = new Set([...alphabet, ...Array.from({ length: 60 }, () => word(6))]);
    // Few distinct scores, so that ties are common.
    const list = Array.from(texts, (text) => ({
      text: text.replaceAll(' ', '▁'),
      score: -Math.floor(random() * 12),
    }));
    const tokenizer = load([...gemmaLikePieces([]).filter((p) => p.type !== 4), ...list]);
    const scores = new Map(list.map(({ text, score }) => [text, score]));
    for (let n = 0; n < 40; n++) {
      // Text may hold U+2581 itself, which then means a space.
      const text = word(n < 30 ? 20 : 400).replace(/ (?=.* )/, n % 2 === 0 ? ' ' : '▁');
      assert.deepEqual(pieces(tokenizer, text), mergedNaively(text, scores), JSON.stringify({ round, text }));
    }
  }
});

test('ids outside the vocabulary are refused', () => {
  for (const id of [-1, gemma.size, 1.5, Number.NaN]) {
    assert.throws(() => gemma.decode([id]), RangeError);
    assert.throws(() => gemma.piece(id), RangeError);
    assert.throws(() => gemma.decoder().push(id), RangeError);
  }
});

const HOSTILE: readonly (readonly [string, string, Record<string, GgufValue>, RegExp])[] = [
  [
    'a string for the pieces',
    'tokens',
    { 'tokenizer.ggml.tokens': { kind: 'string', value: 'x' } },
    /not an array of strings/,
  ],
  [
    'integer scores',
    'scores',
    { 'tokenizer.ggml.scores': { kind: 'integers', type: 'i32', value: new Int32Array(999) } },
    /not an array of floats/,
  ],
  [
    'too few scores',
    'scores',
    { 'tokenizer.ggml.scores': { kind: 'floats', type: 'f32', value: new Float32Array(5) } },
    /has 5 entries for \d+ pieces/,
  ],
  [
    'a score that is no number',
    'scores',
    {
      'tokenizer.ggml.scores': { kind: 'floats', type: 'f32', value: new Float32Array(999).fill(Number.NaN) },
    },
    /is NaN at piece 0/,
  ],
  [
    'float types',
    'token_type',
    { 'tokenizer.ggml.token_type': { kind: 'floats', type: 'f32', value: new Float32Array(999) } },
    /not an array of integers/,
  ],
  [
    'too few types',
    'token_type',
    { 'tokenizer.ggml.token_type': { kind: 'integers', type: 'i32', value: new Int32Array(3) } },
    /has 3 entries/,
  ],
  [
    'an unknown type',
    'token_type',
    { 'tokenizer.ggml.token_type': { kind: 'integers', type: 'i32', value: new Int32Array(999).fill(-7) } },
    /unknown type -7/,
  ],
  ['an unknown model', 'model', { 'tokenizer.ggml.model': { kind: 'string', value: 'bert' } }, /is "bert"/],
  ['no merges', 'merges', { 'tokenizer.ggml.model': { kind: 'string', value: 'gpt2' } }, /no metadata key/],
  [
    'a merge of one piece',
    'merges',
    {
      'tokenizer.ggml.model': { kind: 'string', value: 'gpt2' },
      'tokenizer.ggml.merges': { kind: 'strings', value: PackedStrings.from(['ab']) },
    },
    /not two pieces/,
  ],
  [
    'a BOS beyond the end',
    'bos_token_id',
    { 'tokenizer.ggml.bos_token_id': { kind: 'integer', type: 'u32', value: 4_000_000_000 } },
    /outside the vocabulary/,
  ],
  [
    'a negative EOS',
    'eos_token_id',
    { 'tokenizer.ggml.eos_token_id': { kind: 'integer', type: 'i32', value: -1 } },
    /cannot be negative/,
  ],
];

for (const [what, key, changes, sentence] of HOSTILE) {
  test(`${what}: an error that names tokenizer.ggml.${key}`, () => {
    assert.throws(
      () => load(gemmaLikePieces(WORDS), changes),
      (error) =>
        error instanceof GgufError && error.field === `tokenizer.ggml.${key}` && sentence.test(error.message),
    );
  });
}

test('a byte piece of the wrong form is refused', () => {
  for (const text of ['<0x-1>', '<0xGG>', '<0x1>', 'x', '']) {
    assert.throws(
      () => load([...gemmaLikePieces(WORDS), { text, type: 6 }]),
      (error) => error instanceof GgufError && /byte piece/.test(error.message),
      text,
    );
  }
});

test('duplicate, empty and invalid pieces do no harm', () => {
  const tokenizer = load([
    ...gemmaLikePieces(WORDS),
    { text: 'ab', score: -1 },
    { text: '' },
    { text: '', type: 4 },
    { text: Uint8Array.of(0xff, 0xfe), score: 9 },
    { text: Uint8Array.of(0xe2, 0x96), score: 9 },
  ]);
  assert.equal(tokenizer.decode(tokenizer.encode('ab the ▁ab')), 'ab the  ab');
});

test('a vocabulary of one piece, or none at all, still loads', () => {
  const tokenizer = load([{ text: 'a' }], {
    'tokenizer.ggml.bos_token_id': { kind: 'integer', type: 'u32', value: 0 },
    'tokenizer.ggml.eos_token_id': { kind: 'integer', type: 'u32', value: 0 },
    'tokenizer.ggml.unknown_token_id': { kind: 'integer', type: 'u32', value: 0 },
  });
  assert.deepEqual([...tokenizer.encode('ab')], [0, 0]);
});
