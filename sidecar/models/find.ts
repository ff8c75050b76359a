/** Where models are on this machine. Today: the one that is built in, and any file the user names. */
import { existsSync } from 'node:fs';
import path from 'node:path';

export const BUILT_IN_MODEL = 'gemma-sidecar-builtin.gguf';

/** Beside the bundle (`dist/` next to `models/`), or in a clone, where this file lies two folders down. */
function candidates(): readonly string[] {
  const here = import.meta.dirname;
  return [
    path.resolve(here, '../models', BUILT_IN_MODEL),
    path.resolve(here, '../../models', BUILT_IN_MODEL),
  ];
}

export function builtInModelPath(): string | null {
  return candidates().find((file) => existsSync(file)) ?? null;
}

/** A sentence for a person. */
export function missingBuiltInModel(): string {
  return (
    `The built-in model (models/${BUILT_IN_MODEL}) is missing from this installation. ` +
    'Install the extension again, or choose a Gemma 3 model file (GGUF).'
  );
}
