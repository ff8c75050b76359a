/** Memory that this process may still take, in bytes: free on the machine and under the limits of its control group. */
import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';

export function availableMemory(): number {
  return Math.min(machineMemory(), ...groupMemory());
}

/** What the kernel could give without swapping; `freemem` elsewhere, which on Linux would leave out the page cache. */
function machineMemory(): number {
  const line = readText('/proc/meminfo')?.match(/^MemAvailable:\s+(\d+) kB$/m);
  return line ? Number(line[1]) * 1024 : freemem();
}

/** Control groups, version 2 and 1. Cached file pages count as used there, but are given up on demand. */
function groupMemory(): number[] {
  const groups = [
    { limit: 'memory.max', usage: 'memory.current', folder: '/sys/fs/cgroup' },
    {
      limit: 'memory.limit_in_bytes',
      usage: 'memory.usage_in_bytes',
      folder: '/sys/fs/cgroup/memory',
    },
  ];
  return groups.flatMap(({ limit, usage, folder }) => {
    const most = readNumber(`${folder}/${limit}`);
    const used = readNumber(`${folder}/${usage}`);
    if (most === null || used === null) return [];
    const cached = Number(
      readText(`${folder}/memory.stat`)?.match(/^(?:total_)?inactive_file (\d+)$/m)?.[1] ?? 0,
    );
    return [Math.max(0, most - used + cached)];
  });
}

/** Null where there is no such file, or no limit ("max"). */
function readNumber(path: string): number | null {
  const text = readText(path)?.trim() ?? '';
  return /^\d+$/.test(text) ? Number(text) : null;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
