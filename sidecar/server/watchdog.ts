/**
 * Ends this process soon after its parent is gone, even while the main thread is inside one long call: a thread that does
 * nothing else asks ten times a second who the parent is (watchdog-worker.ts).
 */
import { Worker } from 'node:worker_threads';
import type { WatchdogMessage } from './watchdog-worker.ts';

/** After its input ended, the process has this long to leave by itself. */
const GRACE_MS = 300;

export interface Watchdog {
  /** Also watch this process, which the client named as its own. */
  watch(pid: number): void;
  /** The input has ended: leave within GRACE_MS, whatever is running. */
  leave(): void;
}

export function startWatchdog(): Watchdog {
  // Beside this source in a clone, beside the bundle in a package.
  const file = import.meta.url.endsWith('.ts') ? './watchdog-worker.ts' : './watchdog-worker.js';
  const worker = new Worker(new URL(file, import.meta.url), { workerData: { parent: process.ppid } });
  worker.unref();
  const post = (message: WatchdogMessage) => worker.postMessage(message);
  return {
    watch: (pid) => post({ kind: 'watch', pid }),
    leave: () => post({ kind: 'leave', afterMs: GRACE_MS }),
  };
}
