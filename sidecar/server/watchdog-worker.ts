/** The thread of watchdog.ts. It ends the process by SIGKILL: an orderly exit would wait for native threads. */
import { parentPort, workerData } from 'node:worker_threads';

export type WatchdogMessage =
  | { readonly kind: 'watch'; readonly pid: number }
  | { readonly kind: 'leave'; readonly afterMs: number };

const POLL_MS = 100;
const { parent } = workerData as { readonly parent: number };
const watched = new Set([parent]);

const end = () => process.kill(process.pid, 'SIGKILL');

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    // Any other failure, such as EPERM, means that there is such a process.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

parentPort?.on('message', (message: WatchdogMessage) => {
  if (message.kind === 'watch') watched.add(message.pid);
  else setTimeout(end, message.afterMs);
});

// When a parent dies its child gets another one, except on Windows, where the old number stays and answers nothing.
setInterval(() => {
  if (process.ppid !== parent || [...watched].some(isGone)) end();
}, POLL_MS);
