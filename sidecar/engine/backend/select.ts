/** The one place that knows which backends there are. */
import { type ActivationPrecision, type Backend, BackendError } from './backend.ts';
import { createCpuBackend } from './cpu/cpu-backend.ts';

export interface BackendChoice {
  readonly kind: 'auto' | 'cpu' | 'gpu';
  /** CPU worker threads; by default one for each physical performance core. */
  readonly threads?: number;
  /** How far the priority of CPU worker threads is below the process's, from 0 (the default) to 19. */
  readonly niceness?: number;
  readonly precision?: ActivationPrecision;
}

/** @throws BackendError if the backend is not part of this version or cannot start here. */
export function selectBackend({ kind, threads, niceness, precision }: BackendChoice): Backend {
  if (kind === 'gpu') {
    throw new BackendError('This version has no GPU backend. Choose the backend "cpu" or "auto".');
  }
  return createCpuBackend({
    ...(threads !== undefined && { threads }),
    ...(niceness !== undefined && { niceness }),
    ...(precision !== undefined && { precision }),
  });
}
