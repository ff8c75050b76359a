/** The reader of segment files against damaged and forged bytes. KV_STORE_CASES=10 makes a million of them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import {
  checkedPayload,
  decodeBlockHeader,
  decodeSegmentHeader,
  encodeRecord,
  encodeSegmentHeader,
  RECORD_HEADER_BYTES,
} from '../../sidecar/engine/kv/store/segment.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { seededRandom } from '../support/random.ts';
import { blocksOf, openStore, readAll, writeAll } from '../support/store-blocks.ts';

const ROUNDS = 100_000 * Number(process.env['KV_STORE_CASES'] ?? 1);
const EXTREMES = [0, 1, 63, 511, 512, 513, 2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const [BLOCK] = blocksOf(openStore({ folder: '/kv', files: new MemoryFiles() }), 1, 1);
const PAYLOAD = Buffer.alloc(256, createHash('sha256').update('payload').digest());

describe('the segment reader', () => {
  test(`takes ${ROUNDS} damaged and forged records for misses, or for the block that was written`, () => {
    const random = seededRandom(17);
    const good = encodeRecord(BLOCK!, PAYLOAD);
    let given = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = mutated(good, RECORD_HEADER_BYTES, random);
      decodeBlockHeader(bytes.subarray(0, RECORD_HEADER_BYTES), PAYLOAD.length);
      const payload = checkedPayload(bytes, BLOCK!, PAYLOAD.length);
      if (payload === null) continue;
      given++;
      assert.ok(payload.equals(PAYLOAD), `round ${round}`);
    }
    // Damage to padding, made whole by a checksum, changes nothing.
    assert.ok(given > 0 && given < 0.2 * ROUNDS, `${given} of ${ROUNDS} given`);
  });

  test(`takes ${ROUNDS / 10} damaged and forged file headers for foreign, or reads what is in them`, () => {
    const random = seededRandom(19);
    const header = { kind: 'global', payloadBytes: 256, fingerprint: new Uint8Array(32).fill(7) } as const;
    const good = encodeSegmentHeader({ ...header, description: 'Gemma 3 4B Q4_0' });
    let foreign = 0;
    for (let round = 0; round < ROUNDS / 10; round++) {
      const read = decodeSegmentHeader(mutated(good, good.length, random));
      if (read === null) foreign++;
      else {
        assert.ok(read.kind === 'local' || read.kind === 'global');
        assert.equal(read.fingerprint.length, 32);
        assert.ok(read.description.length <= good.length);
      }
    }
    assert.ok(foreign > 0.4 * (ROUNDS / 10), `${foreign} foreign`);
  });
});

/** Lengths, classes, positions and counts with right checksums: what a file says is never what memory is asked for. */
test('files with forged lengths and valid checksums give no block, and those of another shape go', async () => {
  const files = new MemoryFiles();
  const store = openStore({ folder: '/kv', files });
  const blocks = blocksOf(store, 1, 3);
  writeAll(store, blocks);
  await store.close();
  const good = [...files.contents].map(([name, { bytes }]) => [name, bytes] as const);
  for (const [name, bytes] of good) {
    for (let field = 0; field < 6; field++) {
      for (const value of EXTREMES) {
        const forged = Buffer.from(bytes);
        if (forged.readUInt32LE(8 + 4 * field) === value) continue;
        forged.writeUInt32LE(value, 8 + 4 * field);
        sealed(forged.subarray(0, 4096));
        const left = MemoryFiles.of(new Map<string, Buffer>([...good, [name, forged]]));
        const reader = openStore({ folder: '/kv', files: left });
        await reader.refresh();
        // Field 4 is the length of the description, field 5 is not used: with those within bounds the file stands.
        const stands = field === 5 || (field === 4 && value <= 4028);
        assert.equal(left.contents.has(name), stands, `field ${field} = ${value}`);
        assert.equal(await readAll(reader, blocks), stands ? 6 : 3, `field ${field} = ${value}`);
      }
    }
    for (const [field, value] of [1, 2, 3].flatMap((f) => EXTREMES.map((v) => [f, v] as const))) {
      const forged = Buffer.from(bytes);
      if (forged.readUInt32LE(4096 + 4 * field) === value) continue;
      forged.writeUInt32LE(value, 4096 + 4 * field);
      sealed(forged.subarray(4096, 4096 + RECORD_HEADER_BYTES));
      const left = MemoryFiles.of(new Map<string, Buffer>([...good, [name, forged]]));
      const reader = openStore({ folder: '/kv', files: left });
      await reader.refresh();
      assert.equal(await readAll(reader, blocks), 5, `record field ${field} = ${value}`);
    }
  }
});

/** Flips, cuts, and numbers made extreme, in the first `header` bytes or anywhere, some with the checksum made right again. */
function mutated(good: Buffer, header: number, random: () => number): Buffer {
  const bytes = Buffer.from(good);
  const kind = Math.floor(random() * 5);
  const within = kind === 0 ? bytes.length : header;
  const at = Math.floor(random() * within);
  if (kind === 1) return bytes.subarray(0, at);
  if (kind === 2) {
    const word = 4 * Math.floor(random() * 5);
    bytes.writeUInt32LE(EXTREMES[Math.floor(random() * EXTREMES.length)]!, word);
  } else bytes[at]! ^= 1 << Math.floor(random() * 8);
  if (kind >= 2) sealed(bytes.subarray(0, header));
  return bytes;
}

function sealed(header: Buffer): void {
  header.writeUInt32LE(crc32(header.subarray(0, -4)), header.length - 4);
}
