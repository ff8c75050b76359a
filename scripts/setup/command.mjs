import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Repository root, without a trailing slash. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '');

/** A failure that a person can act on; printed without a stack. */
export class SetupError extends Error {}

/** Progress goes to stderr, so that a command's own stdout stays machine-readable. */
export function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}

/**
 * Runs a command to its end and keeps its output back unless it fails.
 * Throws SetupError with the last lines of output and `fix`.
 */
export function mustRun(command, args, { cwd = root, env = process.env, fix }) {
  const result = spawnSync(command, args, { cwd, env, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.status === 0) return result.stdout;
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd().split('\n').slice(-25).join('\n');
  const reason = result.error ? result.error.message : `exit code ${result.status ?? result.signal}`;
  throw new SetupError(`\`${command} ${args.join(' ')}\` failed (${reason}).\n${output}\n${fix}`);
}

/** First line of `command --version`, or undefined where the command is not there. */
export function versionOf(command) {
  const result = spawnSync(command, ['--version'], { encoding: 'utf8' });
  return result.status === 0 ? result.stdout.split('\n')[0] : undefined;
}
