/** `cache`: what is kept of prompts that were read. In this version that is nothing beyond a process's own memory. */
import type { Command } from './command.ts';

export const command: Command = {
  name: 'cache',
  summary: 'What the KV store on disk holds',
  usage: '[--clear]',
  options: { clear: { type: 'boolean' } },
  async run({ print, result }) {
    print(
      'Nothing is stored on disk: the KV cache lives in the memory of a running sidecar and ends with it.\n',
    );
    result({ entries: 0, bytes: 0 });
  },
};
