/** The backends under test: every instruction set that a build may have, present here or not. */
import type { ActivationPrecision, Backend } from '../../../sidecar/engine/backend/backend.ts';
import { cpuInstructionSets, createCpuBackend } from '../../../sidecar/engine/backend/cpu/cpu-backend.ts';

export interface SubjectOptions {
  readonly precision: ActivationPrecision;
  readonly threads: number;
}

export interface Subject {
  readonly name: string;
  /** Why it cannot run here; null if it can. */
  readonly skip: string | null;
  create(options: SubjectOptions): Backend;
}

const INSTRUCTION_SETS = {
  x64: ['avx512', 'avxvnni', 'avx2', 'scalar'],
  arm64: ['neon_i8mm', 'neon', 'scalar'],
} as const;

/** Tests ask for this many cases; emulated processors set the variable to a small fraction, for example 0.2. */
export function cases(count: number): number {
  const share = Number(process.env['GEMMA_SIDECAR_TEST_CASES'] ?? '1');
  if (!(share > 0)) throw new RangeError('GEMMA_SIDECAR_TEST_CASES must be a positive number');
  return Math.max(1, Math.round(count * share));
}

export function cpuSubjects(): readonly Subject[] {
  const usable = cpuInstructionSets();
  return Object.entries(INSTRUCTION_SETS).flatMap(([architecture, names]) =>
    names.map((isa) => ({
      name: `cpu ${architecture} ${isa}`,
      skip: reasonToSkip(architecture, isa, usable),
      create: ({ precision, threads }: SubjectOptions) => createCpuBackend({ precision, threads, isa }),
    })),
  );
}

function reasonToSkip(architecture: string, isa: string, usable: readonly string[]): string | null {
  if (architecture !== process.arch) return `this process is ${process.arch}, not ${architecture}`;
  return usable.includes(isa) ? null : `this processor does not run ${isa}`;
}
