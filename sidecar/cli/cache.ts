/** `cache`: what of prompts that were read is kept on disk; deletes it on command. */
import { HeadStore } from '../context/head-store.ts';
import { clearIndexFiles } from '../context/search/index-file.ts';
import { clearStore, reportStore, verifyStore } from '../engine/kv/store/limits.ts';
import { EmbeddingStore } from '../engine/vision/embedding-store.ts';
import type { Command } from './command.ts';
import { flag } from './options.ts';

export const command: Command = {
  name: 'cache',
  summary: 'What the KV store on disk holds; --verify checks every block, --clear deletes all',
  usage: '[--clear | --verify]',
  options: { clear: { type: 'boolean' }, verify: { type: 'boolean' } },
  async run({ common, values, print, result }) {
    const folder = common.cacheFolder;
    if (folder === null) throw new Error('--no-cache leaves nothing to report on.');
    const images = new EmbeddingStore(folder);
    if (flag(values, 'clear')) {
      const freed = (await clearStore(folder)) + (await images.clear());
      await new HeadStore(folder).clear();
      clearIndexFiles(folder);
      print(`Deleted ${megabytes(freed)} from ${folder}.\n`);
      result({ folder, freed_bytes: freed, entries: 0, bytes: 0 });
      return;
    }
    const report = await reportStore(folder);
    const kept = await images.report();
    const checked = flag(values, 'verify') ? await verifyStore(folder) : null;
    print(`${folder}: ${megabytes(report.bytes)} in ${report.segments} files\n`);
    for (const { description, tokens, bytes, lastUsed } of report.models) {
      const used = new Date(lastUsed).toISOString().slice(0, 16).replace('T', ' ');
      print(
        `  ${description}: ${tokens.toLocaleString('en-US')} tokens, ${megabytes(bytes)}, last used ${used} UTC\n`,
      );
    }
    if (kept.images > 0) print(`  ${kept.images} images: ${megabytes(kept.bytes)}\n`);
    if (checked) print(`Checked ${checked.blocks} blocks; ${checked.damaged} are damaged.\n`);
    result({
      folder,
      entries: report.segments,
      bytes: report.bytes,
      images: kept.images,
      image_bytes: kept.bytes,
      models: report.models.map(({ lastUsed, ...model }) => ({ ...model, last_used: lastUsed })),
      ...(checked && { verified: checked }),
    });
  },
};

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
