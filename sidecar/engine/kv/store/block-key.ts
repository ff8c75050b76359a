/** Names of blocks: a hash chain over token ids, so that a name stands for everything from the start of the prompt. */
import { createHash } from 'node:crypto';
import { PAGE_POSITIONS } from '../../backend/backend.ts';

/** Bytes of a key, of a fingerprint and of the chain's root. */
export const KEY_BYTES = 32;

/** What blocks from `firstBlock` on depend on beside their tokens and the chain's root. */
export interface BlockApproximation {
  readonly firstBlock: number;
  readonly how: string;
}

/**
 * Keys of the whole blocks of a prompt, in hexadecimal; `known` are those of its first blocks, if computed before. Blocks before
 * an approximation have the keys that they have without it.
 */
export function blockKeys(
  root: Uint8Array,
  ids: Uint32Array,
  approximation: BlockApproximation | null,
  known: readonly string[] = [],
): string[] {
  const keys = [...known];
  const blocks = Math.floor(ids.length / PAGE_POSITIONS);
  for (let i = keys.length; i < blocks; i++) {
    const parent = i === 0 ? Buffer.from(root) : Buffer.from(keys[i - 1]!, 'hex');
    keys.push(
      createHash('sha256')
        .update(parent)
        .update(littleEndian(blockIds(ids, i)))
        .update(i === approximation?.firstBlock ? approximation.how : '')
        .digest('hex'),
    );
  }
  return keys;
}

export function blockIds(ids: Uint32Array, block: number): Uint32Array {
  return ids.subarray(block * PAGE_POSITIONS, (block + 1) * PAGE_POSITIONS);
}

export function littleEndian(ids: Uint32Array): Buffer {
  const bytes = Buffer.alloc(4 * ids.length);
  for (const [i, id] of ids.entries()) bytes.writeUInt32LE(id, 4 * i);
  return bytes;
}
