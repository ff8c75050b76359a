/** What the machine can do at most, measured by machine_peaks.cc. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface Peaks {
  /** Billions of int8 operations a second (a multiplication and an addition are two); 0 where not measured. */
  readonly int8_gops: number;
  readonly bf16_gflops: number;
  /** Billions of bytes read from memory a second; 0 without a compiler. */
  readonly read_gbps: number;
}

const INSTRUCTIONS = {
  avx512f: '-mavx512f',
  avx512bw: '-mavx512bw',
  avx512_vnni: '-mavx512vnni',
  avx512_bf16: '-mavx512bf16',
};

/** Compiles and runs it; zeros without g++. */
export function measurePeaks(threads: number): Peaks {
  const folder = mkdtempSync(path.join(tmpdir(), 'gemma-sidecar-peaks-'));
  try {
    const program = path.join(folder, 'peaks');
    const known = new Set(readFileSync('/proc/cpuinfo', 'utf8').split(/\s+/));
    const flags = Object.entries(INSTRUCTIONS).flatMap(([name, flag]) => (known.has(name) ? [flag] : []));
    const source = path.join(import.meta.dirname, 'machine_peaks.cc');
    execFileSync('g++', ['-O2', '-std=c++20', '-pthread', ...flags, source, '-o', program]);
    return JSON.parse(execFileSync(program, [String(threads)], { encoding: 'utf8' })) as Peaks;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      return { int8_gops: 0, bf16_gflops: 0, read_gbps: 0 };
    throw error;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
