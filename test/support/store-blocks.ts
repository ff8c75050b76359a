/** Made-up blocks for the KV store whose content follows from their place, so that any reader can tell right from wrong. */
import { createHash } from 'node:crypto';
import { KvStore, type KvStoreOptions } from '../../sidecar/engine/kv/store/kv-store.ts';
import type { BlockHeader } from '../../sidecar/engine/kv/store/segment.ts';

export const PAGE_BYTES = { local: 12_288, global: 8192 };
export const KINDS = ['local', 'global'] as const;
const FINGERPRINT = createHash('sha256').update('a model').digest();

export function openStore(
  options: Partial<KvStoreOptions> & { readonly folder: string },
  model = FINGERPRINT,
) {
  return new KvStore(
    { mostBytes: 1e9, mostAgeMs: 1e9, reserveBytes: 0, retryMs: 0, ...options },
    { fingerprint: model, approximation: null, description: 'made up', pageBytes: PAGE_BYTES },
  );
}

/** The blocks of the prompt number `salt`. */
export function blocksOf(store: KvStore, salt: number, count: number): BlockHeader[] {
  const ids = Uint32Array.from({ length: 64 * count }, (_, i) => (salt * 7919 + i * 31) % 65_536);
  const keys = store.keys(ids);
  return keys.map((key, index) => ({
    index,
    key,
    parent: index === 0 ? Buffer.from(store.rootKey).toString('hex') : keys[index - 1]!,
    ids: ids.slice(64 * index, 64 * (index + 1)),
  }));
}

export function payloadOf(kind: 'local' | 'global', { key }: BlockHeader): Buffer {
  const seed = createHash('sha256').update(kind).update(key).digest();
  return Buffer.alloc(PAGE_BYTES[kind], seed);
}

export function writeAll(store: KvStore, blocks: readonly BlockHeader[]): void {
  for (const block of blocks) for (const kind of KINDS) store.write(kind, block, payloadOf(kind, block));
}

/** How many of the blocks the store gives. Throws if it gives a wrong byte. */
export async function readAll(store: KvStore, blocks: readonly BlockHeader[]): Promise<number> {
  let given = 0;
  for (const block of blocks) {
    for (const kind of KINDS) {
      const check = (payload: Buffer) => {
        if (!payload.equals(payloadOf(kind, block))) throw new Error(`Block ${block.index} came back wrong.`);
      };
      if (await store.read([{ kind, block }], check)) given++;
    }
  }
  return given;
}
