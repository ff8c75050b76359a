/** The limits of the KV store on disk, as a person sets them. */
import type { KvStoreOptions } from '../engine/kv/store/kv-store.ts';

export interface KvStoreSettings {
  readonly maxGigabytes?: number;
  readonly maxDays?: number;
}

export const DEFAULT_GIGABYTES = 16;
const DEFAULT_DAYS = 30;
const DAY_MS = 24 * 60 * 60 * 1000;

export function storeOptions(
  folder: string,
  { maxGigabytes = DEFAULT_GIGABYTES, maxDays = DEFAULT_DAYS }: KvStoreSettings,
  onNotice: (sentence: string) => void,
): KvStoreOptions {
  return { folder, mostBytes: maxGigabytes * 1e9, mostAgeMs: maxDays * DAY_MS, onNotice };
}
