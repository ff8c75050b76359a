/** Runs the real command line. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { privateCache } from './private-cache.ts';

const MAIN = path.resolve(import.meta.dirname, '../../sidecar/main.ts');

export interface CliRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function runCli(
  args: readonly string[],
  options: { readonly cwd?: string; readonly environment?: Readonly<Record<string, string>> } = {},
): Promise<CliRun> {
  const { environment, ...rest } = options;
  const child = spawn(process.execPath, [MAIN, ...args], {
    ...rest,
    env: { ...process.env, ...privateCache(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}
