import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Running sidecars that the editor started, by the arguments that it starts them with. Linux only: reads /proc. */
export function runningSidecars(parent?: number): ProcessInfo[] {
  return processes().filter(
    (process) =>
      process.command.includes('serve --protocol-fd') && (parent === undefined || process.parent === parent),
  );
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
