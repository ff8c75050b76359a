/** Bad headers one by one: each is refused with an error that names the field. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readGguf } from '../../sidecar/engine/model/gguf.ts';
import { GgufError, type GgufProblem } from '../../sidecar/engine/model/gguf-error.ts';
import {
  type Field,
  type HeaderParts,
  headerBytes,
  parseBytes,
  tensorFields,
} from '../support/gguf-bytes.ts';

const folder = mkdtempSync(join(tmpdir(), 'gguf-'));
after(() => rmSync(folder, { recursive: true }));

const U32 = 4;
const STRING = 8;
const ARRAY = 9;
const F32 = 0;
const Q4_0 = 2;
const Q6_K = 14;

function key(name: string, type: number, ...value: Field[]): Field[] {
  return [{ string: name }, { u32: type }, ...value];
}
function array(name: string, type: number, count: bigint | number, ...elements: Field[]): Field[] {
  return key(name, ARRAY, { u32: type }, { u64: count }, ...elements);
}

/** What is wrong, the header, the problem, the field and a part of the sentence. */
const REFUSALS: readonly (readonly [string, HeaderParts, GgufProblem, string, RegExp])[] = [
  [
    'another magic',
    { magic: 0x04034b50 },
    'notGguf',
    'magic',
    /The file is not a GGUF file: it starts with bytes 0x04034b50/,
  ],
  ['version 0', { version: 0 }, 'unsupported', 'version', /version 0/],
  ['version 1', { version: 1 }, 'unsupported', 'version', /version 1 .* Convert the model again/],
  ['version 4', { version: 4 }, 'unsupported', 'version', /newer than this program/],
  ['big-endian', { version: 0x03000000 }, 'unsupported', 'version', /big-endian/],
  ['too many tensors', { tensorCount: 4097 }, 'invalid', 'tensor count', /limit is 4096/],
  ['tensors beyond 2^53', { tensorCount: 2n ** 63n }, 'invalid', 'tensor count', /2\^53/],
  ['too many keys', { keyCount: 65_536 }, 'invalid', 'key count', /limit is 4096/],
  ['keys that wrap 64 bits', { keyCount: 2n ** 64n - 1n }, 'invalid', 'key count', /2\^53/],
  [
    'no keys where one is declared',
    { keyCount: 1 },
    'incomplete',
    'key 0',
    /has 24 bytes and needs at least 32/,
  ],
  ['a key as long as memory', { keyCount: 1, keys: [[{ u64: 2n ** 62n }]] }, 'invalid', 'key 0', /2\^53/],
  ['a key beyond its limit', { keyCount: 1, keys: [[{ u64: 257 }]] }, 'invalid', 'key 0', /limit is 256/],
  ['an empty key', { keys: [key('', U32, { u32: 1 })] }, 'invalid', '', /is empty/],
  [
    'a repeated key',
    { keys: [key('a', U32, { u32: 1 }), key('a', U32, { u32: 1 })] },
    'invalid',
    'a',
    /repeats "a"/,
  ],
  ['an unknown value type', { keys: [key('a', 13, { u32: 1 })] }, 'invalid', 'a', /unknown value type 13/],
  ['a boolean of 2', { keys: [key('a', 7, { u8: 2 })] }, 'invalid', 'a', /is 2, not a boolean/],
  ['a string of 1 GiB', { keys: [key('a', STRING, { u64: 2 ** 30 })] }, 'invalid', 'a', /limit is 1048576/],
  [
    'a string beyond the end',
    { keys: [key('a', STRING, { u64: 1000 })] },
    'incomplete',
    'a',
    /The file is incomplete/,
  ],
  ['nested arrays', { keys: [array('a', ARRAY, 1)] }, 'invalid', 'a', /array of arrays/],
  ['an array of an unknown type', { keys: [array('a', 99, 1)] }, 'invalid', 'a', /unknown value type 99/],
  ['an array of 2^20 + 1', { keys: [array('a', 0, 2 ** 20 + 1)] }, 'invalid', 'a', /limit is 1048576/],
  ['an array that wraps', { keys: [array('a', U32, 2n ** 62n + 1n)] }, 'invalid', 'a', /2\^53/],
  [
    'an array beyond the end',
    { keys: [array('a', STRING, 2 ** 20)] },
    'incomplete',
    'a',
    /The file is incomplete/,
  ],
  [
    'an element beyond its limit',
    { keys: [array('a', STRING, 1, { u64: 1025 })] },
    'invalid',
    'a',
    /a\[0\] declares 1025/,
  ],
  [
    'an element beyond 2^53',
    { keys: [array('a', STRING, 1, { u64: 2n ** 64n - 1n })] },
    'invalid',
    'a',
    /2\^53/,
  ],
  [
    'alignment 0',
    { keys: [key('general.alignment', U32, { u32: 0 })] },
    'invalid',
    'general.alignment',
    /power of two/,
  ],
  [
    'alignment 33',
    { keys: [key('general.alignment', U32, { u32: 33 })] },
    'invalid',
    'general.alignment',
    /power of two/,
  ],
  [
    'alignment 8192',
    { keys: [key('general.alignment', U32, { u32: 8192 })] },
    'invalid',
    'general.alignment',
    /4096/,
  ],
  [
    'alignment as text',
    { keys: [key('general.alignment', STRING, { string: '32' })] },
    'invalid',
    'general.alignment',
    /is a string, not an integer/,
  ],
  [
    'a tensor name beyond 64 bytes',
    { tensors: [tensorFields('n'.repeat(65), [32], F32, 0)] },
    'invalid',
    'tensor 0 name',
    /limit is 64/,
  ],
  ['an empty tensor name', { tensors: [tensorFields('', [32], F32, 0)] }, 'invalid', '.name', /is empty/],
  ['rank 0', { tensors: [tensorFields('t', [], F32, 0)] }, 'invalid', 't.rank', /0 dimensions/],
  ['rank 5', { tensors: [tensorFields('t', [1, 1, 1, 1, 1], F32, 0)] }, 'invalid', 't.rank', /5 dimensions/],
  [
    'a dimension of 0',
    { tensors: [tensorFields('t', [32, 0], F32, 0)] },
    'invalid',
    't.shape',
    /empty or too large/,
  ],
  [
    'a negative dimension',
    { tensors: [tensorFields('t', [-1n], F32, 0)] },
    'invalid',
    'tensor "t" dimension 0',
    /2\^53/,
  ],
  [
    '2^32 x 2^32 F32, which wraps to 0',
    { tensors: [tensorFields('t', [2 ** 32, 2 ** 32], F32, 0)] },
    'invalid',
    't.shape',
    /too large/,
  ],
  [
    '2^32 x 2^31 F32',
    { tensors: [tensorFields('t', [2 ** 32, 2 ** 31], F32, 0)] },
    'invalid',
    't.shape',
    /too large/,
  ],
  [
    '2^31 x 2^33 Q4_0',
    { tensors: [tensorFields('t', [2 ** 31, 2 ** 33], Q4_0, 0)] },
    'invalid',
    't.shape',
    /too large/,
  ],
  [
    '2^62 x 2',
    { tensors: [tensorFields('t', [2n ** 62n, 2], F32, 0)] },
    'invalid',
    'tensor "t" dimension 0',
    /2\^53/,
  ],
  ['2^52 elements', { tensors: [tensorFields('t', [2 ** 52], F32, 0)] }, 'invalid', 't.shape', /too large/],
  [
    'a type without a meaning',
    { tensors: [tensorFields('t', [32], 4, 0)] },
    'unsupported',
    't.type',
    /has type 4, which is not supported/,
  ],
  [
    'a type we do not read',
    { tensors: [tensorFields('t', [256], 11, 0)] },
    'unsupported',
    't.type',
    /has type Q3_K/,
  ],
  [
    'a type beyond the table',
    { tensors: [tensorFields('t', [32], 0xffffffff, 0)] },
    'unsupported',
    't.type',
    /4294967295/,
  ],
  ['half a block', { tensors: [tensorFields('t', [48], Q4_0, 0)] }, 'invalid', 't.shape', /multiple of 32/],
  [
    'half a large block',
    { tensors: [tensorFields('t', [128], Q6_K, 0)] },
    'invalid',
    't.shape',
    /multiple of 256/,
  ],
  [
    'an offset off the alignment',
    { tensors: [tensorFields('t', [32], F32, 16)], data: 256 },
    'invalid',
    't.offset',
    /not a multiple of 32/,
  ],
  [
    'an offset beyond 2^53',
    { tensors: [tensorFields('t', [32], F32, 2n ** 63n)] },
    'invalid',
    'tensor "t" offset',
    /2\^53/,
  ],
  [
    'an offset beyond the end',
    { tensors: [tensorFields('t', [32], F32, 2 ** 52)], data: 128 },
    'incomplete',
    't.offset',
    /The file is incomplete: it has 192 bytes and needs 4503599627370688/,
  ],
  [
    'no data',
    { tensors: [tensorFields('t', [32], F32, 0)] },
    'incomplete',
    't.offset',
    /The file is incomplete/,
  ],
  [
    'one byte too few',
    { tensors: [tensorFields('t', [32], F32, 0)], data: 127 },
    'incomplete',
    't.offset',
    /has 191 bytes and needs 192/,
  ],
  [
    'tensors on each other',
    { tensors: [tensorFields('a', [32], F32, 0), tensorFields('b', [32], F32, 96)], data: 256 },
    'invalid',
    'b.offset',
    /"a" and "b" overlap/,
  ],
  [
    'the same place twice',
    { tensors: [tensorFields('a', [32], F32, 0), tensorFields('b', [32], F32, 0)], data: 256 },
    'invalid',
    'b.offset',
    /overlap/,
  ],
  [
    'the same name twice',
    { tensors: [tensorFields('a', [8], F32, 0), tensorFields('a', [8], F32, 32)], data: 256 },
    'invalid',
    'a.name',
    /listed twice/,
  ],
];

for (const [what, parts, problem, field, sentence] of REFUSALS) {
  test(`refuses ${what}`, () => {
    const bytes = headerBytes(parts);
    assert.throws(
      () => parseBytes(bytes),
      (error) => {
        assert.ok(error instanceof GgufError, String(error));
        assert.match(error.message, sentence);
        assert.deepEqual([error.problem, error.field], [problem, field]);
        assert.ok(error.byteOffset >= 0 && error.byteOffset <= bytes.length);
        return true;
      },
    );
  });
}

test('refuses an empty file, a folder and an unfinished magic', () => {
  const path = join(folder, 'empty.gguf');
  writeFileSync(path, '');
  assert.throws(() => readGguf(path), {
    problem: 'incomplete',
    message: /empty\.gguf is incomplete: it has 0 bytes and needs at least 4/,
  });
  writeFileSync(path, 'GGU');
  assert.throws(() => readGguf(path), { problem: 'incomplete' });
  assert.throws(() => readGguf(folder), GgufError);
  assert.throws(() => readGguf(join(folder, 'absent.gguf')), { code: 'ENOENT' });
});

test('reads version 2 and tensors in any order, with gaps between them', () => {
  const bytes = headerBytes({
    version: 2,
    keys: [key('general.alignment', U32, { u32: 64 })],
    tensors: [tensorFields('late', [32, 2], Q4_0, 256), tensorFields('early', [4, 2, 1, 1], F32, 64)],
    data: 512,
  });
  const file = parseBytes(bytes);
  assert.equal(file.version, 2);
  assert.equal(file.dataOffset % 64, 0);
  assert.deepEqual(file.tensors.get('late'), {
    name: 'late',
    type: 'Q4_0',
    shape: [32, 2],
    offset: file.dataOffset + 256,
    byteLength: 36,
  });
  const { rows, columns } = file.weight('early');
  assert.deepEqual([rows, columns], [2, 4]);
  assert.throws(() => file.weight('absent'), { problem: 'missing', field: 'absent' });
});

test('accessors name the key that is absent, mistyped or out of range', () => {
  const { metadata } = parseBytes(
    headerBytes({
      keys: [
        key('count', U32, { u32: 7 }),
        key('minus', 5, { u32: -7 }),
        key('half', 6, { f32: 0.5 }),
        key('nan', 6, { f32: Number.NaN }),
        key('text', STRING, { string: 'x' }),
        key('yes', 7, { u8: 1 }),
        array('list', STRING, 2, { string: 'a' }, { string: 'bc' }),
      ],
    }),
  );
  assert.equal(metadata.unsigned('count'), 7);
  assert.equal(metadata.float('half'), 0.5);
  assert.equal(metadata.string('text'), 'x');
  assert.equal(metadata.boolean('yes'), true);
  assert.deepEqual(
    [0, 1].map((i) => metadata.strings('list').text(i)),
    ['a', 'bc'],
  );
  assert.equal(metadata.optionalUnsigned('absent'), undefined);
  assert.throws(() => metadata.unsigned('absent'), { problem: 'missing', field: 'absent' });
  assert.throws(() => metadata.unsigned('minus'), { field: 'minus', message: /-7, but cannot be negative/ });
  assert.throws(() => metadata.float('nan'), { field: 'nan', message: /not a finite number/ });
  assert.throws(() => metadata.unsigned('half'), { field: 'half', message: /is a float, not an integer/ });
  assert.throws(() => metadata.optionalString('yes'), {
    field: 'yes',
    message: /is a boolean, not a string/,
  });
});

test('names from a file are shown with invisible characters escaped', () => {
  const bytes = headerBytes({ tensors: [tensorFields('\u202egnp\u0007', [0], F32, 0)] });
  assert.throws(() => parseBytes(bytes), /"\\u\{202e\}gnp\\u\{7\}"/);
});

test('an array of 2^20 strings is read, and its header limit holds', () => {
  const count = 2 ** 20;
  const strings = new Uint8Array(count * 9);
  for (let i = 0; i < count; i++) strings.set([1, 0, 0, 0, 0, 0, 0, 0, 65 + (i % 26)], i * 9);
  const bytes = new Uint8Array(
    Buffer.concat([headerBytes({ keyCount: 1, keys: [array('a', STRING, count)] }), strings]),
  );
  const read = parseBytes(bytes).metadata.strings('a');
  assert.equal(read.length, count);
  assert.equal(read.text(count - 1), String.fromCharCode(65 + ((count - 1) % 26)));
});
