/** A sidecar process whose engine follows a script: for tests that need no model. Arguments as for `serve`. */
import { writeSync } from 'node:fs';
import { serve } from '../../sidecar/server/serve.ts';
import { scriptedEngine } from './scripted-engine.ts';

/** `{prompt}` in it stands for the prompt as text. */
const text = process.env['SCRIPTED_ANSWER'] ?? 'The answer is in a.ts:1.';
const delay = Number(process.env['SCRIPTED_DELAY_MS'] ?? 0);
const busy = Number(process.env['SCRIPTED_BUSY_MS'] ?? 0);

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

const argument = process.argv.indexOf('--protocol-fd');
process.exitCode = await serve({
  script: import.meta.filename,
  relaunchArguments: [],
  cacheFolder: null,
  protocolFd: argument < 0 ? null : Number(process.argv[argument + 1]),
  version: 'scripted',
  niceness: 10,
  defaults: { modelPath: 'scripted.gguf' },
  loadEngine: async (options) => {
    if (process.env['SCRIPTED_LOAD_BUSY_MS']) block(Number(process.env['SCRIPTED_LOAD_BUSY_MS']));
    return scriptedEngine(
      {
        sees: process.env['SCRIPTED_SEES'] === '1',
        answer: (prompt) => text.replace('{prompt}', () => prompt),
        gate: async () => {
          if (process.env['SCRIPTED_PRINT']) {
            console.log('a stray print');
            // What printf in native code does.
            writeSync(1, 'another stray print\n');
          }
          if (busy > 0) block(busy);
          await new Promise((resolve) => setTimeout(resolve, delay));
        },
      },
      options,
    );
  },
});
