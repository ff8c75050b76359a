import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Sidecars that `parent` started itself. Linux only, like the rest of this file: reads /proc. */
export function childSidecars(parent: number): ProcessInfo[] {
  return processes().filter((process) => isSidecar(process) && process.parent === parent);
}

/** Sidecars that `ancestor` started, itself or through others. */
export function descendantSidecars(ancestor: number): ProcessInfo[] {
  const all = processes();
  const parents = new Map(all.map(({ pid, parent }) => [pid, parent]));
  const descends = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === ancestor || descends(parent));
  };
  return all.filter((process) => isSidecar(process) && descends(process.pid));
}

/**
 * Lets a process run for a seventh of the time only, as on a slow machine: a small model otherwise writes its whole answer
 * between two frames. Call the result to let it run freely again.
 */
export function slowDown(pid: number): () => void {
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(pid, name);
    } catch {
      // It has ended.
    }
  };
  const timer = setInterval(() => {
    signal('SIGCONT');
    setTimeout(() => signal('SIGSTOP'), 5);
  }, 35);
  return () => {
    clearInterval(timer);
    setTimeout(() => signal('SIGCONT'), 10);
  };
}

/** By the arguments that the editor starts them with. */
function isSidecar({ command }: ProcessInfo): boolean {
  return command.includes('serve --protocol-fd');
}

function processes(): ProcessInfo[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').join(' ').trim();
        // The second field is the name in brackets and may hold spaces; state and parent follow it.
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return state === 'Z' ? [] : [{ pid: Number(name), parent: Number(parent), command }];
      } catch {
        return []; // ended while we looked
      }
    });
}
