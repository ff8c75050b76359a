/**
 * Damaged and hostile files in bulk: cut at every edge, bits flipped, bytes mutated, headers made up. Whatever comes,
 * the reader either refuses with a GgufError or returns ranges that lie inside the file.
 *
 * GGUF_FUZZ sets the number of mutations and of made-up headers (for a nightly run).
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { TENSOR_TYPES } from '../../sidecar/engine/backend/tensor.ts';
import { type GgufFile, readGguf } from '../../sidecar/engine/model/gguf.ts';
import { GgufError } from '../../sidecar/engine/model/gguf-error.ts';
import { loadTokenizer } from '../../sidecar/engine/tokenizer/from-gguf.ts';
import { type Field, headerBytes, parseBytes, tensorFields } from '../support/gguf-bytes.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';
import { gemmaLikePieces } from '../support/tokenizer-metadata.ts';

const FUZZ = Number(process.env['GGUF_FUZZ'] ?? 40_000);

const folder = mkdtempSync(join(tmpdir(), 'gguf-damage-'));
after(() => rmSync(folder, { recursive: true }));

const SMALL = { ...MODEL_SHAPES.nano, layers: 1, hidden: 32, headDim: 32, feedForward: 32, vocabulary: 420 };
const path = join(folder, 'small.gguf');
writeTinyModel(path, { shape: SMALL, pieces: gemmaLikePieces(['▁a', 'a', '▁']), embedding: 'Q8_0' });
const valid = new Uint8Array(readFileSync(path));
const file = readGguf(path);
const lastByte = Math.max(...Array.from(file.tensors.values(), (t) => t.offset + t.byteLength));

function assertInside({ tensors, fileSize, dataOffset }: GgufFile): void {
  let end = dataOffset;
  for (const tensor of [...tensors.values()].toSorted((a, b) => a.offset - b.offset)) {
    assert.ok(Number.isSafeInteger(tensor.offset) && tensor.offset >= end, tensor.name);
    assert.ok(tensor.byteLength > 0);
    end = tensor.offset + tensor.byteLength;
  }
  assert.ok(tensors.size === 0 || end <= fileSize);
}

/** True if the bytes were accepted; anything but a GgufError fails the test. */
function survives(bytes: Uint8Array): boolean {
  try {
    const parsed = parseBytes(bytes);
    assertInside(parsed);
    const rows = parsed.tensors.get('token_embd.weight')?.shape[1] ?? 1;
    if (rows <= 4096) loadTokenizer(parsed, rows);
    return true;
  } catch (error) {
    assert.ok(error instanceof GgufError, `${error instanceof Error ? error.stack : error}`);
    assert.ok(error.message.length < 600 && error.field.length < 400);
    return false;
  }
}

test('a file cut at every edge and at 1,000 random lengths is incomplete', () => {
  const random = seededRandom(1);
  const edges = [0, 3, 4, 7, 8, 16, 24, file.dataOffset - 1, file.dataOffset, lastByte - 1];
  for (const { offset, byteLength } of file.tensors.values()) edges.push(offset, offset + byteLength - 1);
  const lengths = [...edges, ...Array.from({ length: 1000 }, () => Math.floor(random() * lastByte))];
  for (const length of lengths) {
    assert.throws(
      () => parseBytes(valid.subarray(0, length)),
      (error) =>
        error instanceof GgufError &&
        error.problem === 'incomplete' &&
        /The file is incomplete: it has \d+/.test(error.message),
      `${length} bytes`,
    );
  }
});

test('a file cut on disk is refused as it is in memory', () => {
  const cut = join(folder, 'cut.gguf');
  writeFileSync(cut, valid);
  truncateSync(cut, lastByte - 1);
  assert.throws(() => readGguf(cut), {
    message: `${cut} is incomplete: it has ${lastByte - 1} bytes and needs ${lastByte}. Download or copy it again.`,
  });
});

test('1,000 single bit flips in the header give an error or a file that is sound', () => {
  const random = seededRandom(2);
  let accepted = 0;
  for (let n = 0; n < 1000; n++) {
    const bytes = valid.slice();
    bytes[Math.floor(random() * file.dataOffset)]! ^= 1 << Math.floor(random() * 8);
    if (survives(bytes)) accepted++;
  }
  assert.ok(accepted < 1000);
});

test(`${FUZZ} mutated headers`, () => {
  const random = seededRandom(3);
  const below = (limit: number) => Math.floor(random() * limit);
  const nasty = [0, 1, 0x7f, 0x80, 0xff];
  const small = headerBytes({
    keys: [
      [{ string: 'general.alignment' }, { u32: 4 }, { u32: 32 }],
      [{ string: 'tokenizer.ggml.model' }, { u32: 8 }, { string: 'llama' }],
      [
        { string: 'tokenizer.ggml.tokens' },
        { u32: 9 },
        { u32: 8 },
        { u64: 3 },
        { string: '<unk>' },
        { string: '<0x41>' },
        { string: 'a' },
      ],
      [
        { string: 'tokenizer.ggml.scores' },
        { u32: 9 },
        { u32: 6 },
        { u64: 3 },
        { f32: 0 },
        { f32: -1 },
        { f32: -2 },
      ],
      [
        { string: 'tokenizer.ggml.token_type' },
        { u32: 9 },
        { u32: 5 },
        { u64: 3 },
        { u32: 2 },
        { u32: 6 },
        { u32: 1 },
      ],
    ],
    tensors: [tensorFields('token_embd.weight', [32, 3], 2, 0), tensorFields('x', [256], 14, 64)],
    data: 320,
  });
  assert.ok(survives(small));
  let accepted = 0;
  for (let n = 0; n < FUZZ; n++) {
    // The whole model costs more to parse, so it takes one turn in sixteen.
    const bytes = (n % 16 === 0 ? valid : small).slice();
    const header = n % 16 === 0 ? file.dataOffset : small.length - 320;
    for (let changes = 1 + below(6); changes > 0; changes--) {
      const at = below(header);
      switch (below(4)) {
        case 0:
          bytes[at] = below(256);
          break;
        case 1:
          bytes[at] = nasty[below(nasty.length)]!;
          break;
        case 2:
          bytes.fill(nasty[below(nasty.length)]!, at, at + 1 + below(8));
          break;
        default:
          bytes.copyWithin(at, below(header), below(header));
      }
    }
    if (survives(below(8) === 0 ? bytes.subarray(0, below(bytes.length)) : bytes)) accepted++;
  }
  assert.ok(accepted > 0 && accepted < FUZZ);
});

const integer = fc.oneof(
  fc.nat({ max: 64 }).map(BigInt),
  fc.constantFrom(
    2n ** 20n,
    2n ** 31n,
    2n ** 32n,
    2n ** 33n,
    2n ** 52n,
    2n ** 53n,
    2n ** 62n,
    2n ** 63n,
    2n ** 64n - 1n,
  ),
);
const name = fc.oneof(
  fc.constantFrom('general.alignment', 'a', 'token_embd.weight', ''),
  fc.string({ maxLength: 80 }),
);
const scalar: fc.Arbitrary<Field[]> = fc.oneof(
  fc.tuple(fc.constantFrom(0, 1, 7), fc.nat({ max: 255 })).map(([type, u8]) => [{ u32: type }, { u8 }]),
  fc.tuple(fc.constantFrom(4, 5, 6), fc.nat()).map(([type, u32]) => [{ u32: type }, { u32 }]),
  fc.tuple(fc.constantFrom(10, 11, 12), integer).map(([type, u64]) => [{ u32: type }, { u64 }]),
  fc.string({ maxLength: 40 }).map((string) => [{ u32: 8 }, { string }]),
  fc
    .tuple(fc.nat({ max: 13 }), integer, fc.array(fc.nat({ max: 255 }), { maxLength: 40 }))
    .map(([type, count, bytes]) => [
      { u32: 9 },
      { u32: type },
      { u64: count },
      ...bytes.map((u8) => ({ u8 })),
    ]),
);
const types = Object.values(TENSOR_TYPES).map((type) => type.ggmlId);
const tensor = fc
  .tuple(
    name,
    fc.array(integer, { maxLength: 5 }),
    fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...types) }, fc.nat({ max: 40 })),
    fc.oneof(
      fc.nat({ max: 16 }).map((n) => BigInt(n * 32)),
      integer,
    ),
  )
  .map((parts) => tensorFields(...parts));
const header = fc.record(
  {
    version: fc.constantFrom(2, 3),
    keyCount: integer,
    tensorCount: integer,
    keys: fc.array(
      fc.tuple(name, scalar).map(([string, value]) => [{ string }, ...value]),
      { maxLength: 6 },
    ),
    tensors: fc.array(tensor, { maxLength: 4 }),
    data: fc.nat({ max: 4096 }),
  },
  { requiredKeys: ['keys', 'tensors'] },
);

test(`${FUZZ / 10} made-up headers`, () => {
  fc.assert(
    fc.property(header, (parts) => {
      survives(headerBytes(parts));
    }),
    { numRuns: FUZZ / 10, seed: 4 },
  );
});
