/**
 * Makes a fresh clone ready and then runs a script on Node 24:
 *
 *   node scripts/setup.mjs run|build|start|test [-- SCRIPT ARGUMENTS...]
 *
 * run    packages and the native addon: enough for the command line
 * build  and the bundles
 * start  and an editor
 * test   and everything that `npm test` uses
 *
 * Plain JavaScript, because it runs on the machine's own Node (20 or newer) with nothing installed. Each step looks
 * first whether it is needed, so a second run costs a second or less.
 */
import { spawn } from 'node:child_process';
import { ensureCodeServer, hasDesktopEditor } from './setup/code-server.mjs';
import { mustRun, root, SetupError } from './setup/command.mjs';
import { ensureNode, ensurePackages, nodePath } from './setup/packages.mjs';
import { ensureSystemTools, findChromium } from './setup/system.mjs';

const profiles = ['run', 'build', 'start', 'test'];

function prepare(profile) {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) throw new SetupError(`Node 20 or newer is needed; this is ${process.version}.`);
  ensureSystemTools({ forTests: profile === 'test' });
  ensurePackages();
  ensureNode();
  build('scripts/build-native.mjs');
  if (profile !== 'run') build('esbuild.mjs');
  if (profile === 'test' || (profile === 'start' && !hasDesktopEditor())) ensureCodeServer();
}

function build(script) {
  mustRun(nodePath, [script], { fix: `Fix the error above, then run \`node ${script}\` again.` });
}

/** Runs the script on Node 24, hands signals on, and ends as it ends. */
function hand(args) {
  const chromium = findChromium();
  const env = chromium === undefined ? process.env : { ...process.env, CHROMIUM: chromium };
  const child = spawn(nodePath, args, { cwd: root, env, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    // Ctrl+C reaches the child from the terminal by itself; this process only has to outlive it.
    process.on(signal, () => signal !== 'SIGINT' && child.kill(signal));
  }
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 143)));
}

try {
  const [profile, separator, ...script] = process.argv.slice(2);
  if (!profiles.includes(profile) || (separator !== undefined && separator !== '--')) {
    throw new SetupError(`usage: node scripts/setup.mjs ${profiles.join('|')} [-- SCRIPT ARGUMENTS...]`);
  }
  prepare(profile);
  if (script.length > 0) hand(script);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`setup: ${error.message}\n`);
  process.exitCode = 1;
}
