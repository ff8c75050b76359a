/**
 * Ends this process soon after its parent is gone, even while the main thread is inside one long call. A thread that does
 * nothing else asks every 100 ms who the parent is; the end is a SIGKILL to ourselves, since an orderly exit would wait
 * for native threads.
 */
import { Worker } from 'node:worker_threads';

const POLL_MS = 100;
/** After its input ended, the process has this long to leave by itself. */
const GRACE_MS = 300;

export interface Watchdog {
  /** Also watch this process, which the client named as its own. */
  watch(pid: number): void;
  /** The input has ended: leave within GRACE_MS, whatever is running. */
  leave(): void;
}

export function startWatchdog(): Watchdog {
  // The thread's code is this function's source, so that it needs no file of its own beside a bundle.
  const worker = new Worker(`(${watchParent.toString()})(require('node:worker_threads').parentPort)`, {
    eval: true,
    workerData: null,
    env: {},
    execArgv: [],
  });
  worker.unref();
  worker.postMessage({ pollMs: POLL_MS, parent: process.ppid });
  return {
    watch: (pid) => worker.postMessage({ watch: pid }),
    leave: () => worker.postMessage({ leaveAfterMs: GRACE_MS }),
  };
}

interface WatchPort {
  on(
    event: 'message',
    listener: (message: {
      readonly pollMs?: number;
      readonly parent?: number;
      readonly watch?: number;
      readonly leaveAfterMs?: number;
    }) => void,
  ): void;
}

/** Runs in the thread; may use nothing from outside itself. */
function watchParent(port: WatchPort): void {
  const end = () => process.kill(process.pid, 'SIGKILL');
  const watched = new Set<number>();
  const gone = (pid: number) => {
    try {
      process.kill(pid, 0);
      return false;
    } catch (error) {
      // EPERM: alive, but of another user.
      return (error as NodeJS.ErrnoException).code === 'ESRCH';
    }
  };
  port.on('message', ({ pollMs, parent, watch, leaveAfterMs }) => {
    if (watch !== undefined) watched.add(watch);
    if (leaveAfterMs !== undefined) setTimeout(end, leaveAfterMs);
    if (pollMs !== undefined && parent !== undefined) {
      // Elsewhere than on Windows a new parent appears when the old one dies; there the old number stays and answers nothing.
      watched.add(parent);
      setInterval(() => {
        if (process.ppid !== parent || [...watched].some(gone)) end();
      }, pollMs);
    }
  });
}
