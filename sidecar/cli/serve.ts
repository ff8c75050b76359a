/** `serve`: the language server, what the extension and any other LSP client start. */
import { serve } from '../server/serve.ts';
import type { Command } from './command.ts';
import { integerOption } from './options.ts';

/** Threads that compute have a tenth of the weight of the others: typing stays smooth while a prompt is read. */
const NICENESS = 10;

/** All of the sidecar together has a third of the editor's weight, where that is in another session. */
const SESSION_NICENESS = 5;

export const command: Command = {
  name: 'serve',
  summary: 'The language server on stdin and stdout',
  usage: '[--protocol-fd 3]',
  options: {
    'protocol-fd': { type: 'string' },
    // LSP clients pass it by custom; it is what we do anyway.
    stdio: { type: 'boolean' },
  },
  async run(context) {
    const { common, values, version, loadEngine } = context;
    context.signal.addEventListener('abort', () => process.exit(0));
    process.exitCode = await serve({
      protocolFd: integerOption(values, 'protocol-fd', { least: 0, most: 1024 }) ?? null,
      script: process.argv[1] ?? '',
      relaunchArguments: process.argv.slice(2),
      version,
      niceness: SESSION_NICENESS,
      // Whoever serves an editor computes behind it.
      loadEngine: (engine) => loadEngine({ niceness: NICENESS, ...engine }),
      cacheFolder: common.cacheFolder,
      defaults: {
        backend: common.backend,
        ...(common.model !== null && { modelPath: common.model }),
        ...(common.mmproj !== null && { mmprojPath: common.mmproj }),
        ...(common.threads !== undefined && { threads: common.threads }),
        ...(common.contextLength !== undefined && { contextLength: common.contextLength }),
        kvFormat: common.kv,
        ...(common.sparse !== undefined && { sparsePositions: common.sparse }),
      },
    });
  },
};
