/**
 * Starts `serve` again with replies on descriptor 3, for clients that know only stdin and stdout (see protocol/launch.ts).
 * The child gets our stdin, our stdout as descriptor 3, and our stderr twice. This process then only waits; it must never
 * touch process.stdout, whose descriptor is the child's.
 */
import { spawn } from 'node:child_process';
import { IN_OWN_SESSION, PROTOCOL_FD } from '../protocol/launch.ts';

const POLL_MS = 100;

/** Resolves with the child's exit code. */
export function relaunchWithProtocolDescriptor(
  script: string,
  serveArguments: readonly string[],
): Promise<number> {
  const child = spawn(
    process.execPath,
    [...process.execArgv, script, ...serveArguments, '--protocol-fd', String(PROTOCOL_FD)],
    { stdio: [0, 2, 2, 1], detached: IN_OWN_SESSION },
  );
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid !== parent) child.kill('SIGKILL');
  }, POLL_MS);
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  process.on('SIGTERM', forward).on('SIGINT', forward);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      clearInterval(watch);
      resolve(code ?? (signal === null ? 1 : 128));
    });
  });
}
