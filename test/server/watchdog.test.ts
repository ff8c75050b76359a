/** The sidecar never outlives its parent, whatever it is doing when the parent is killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SCRIPTED_SIDECAR } from '../support/sidecar-client.ts';

const PARENT = path.resolve(import.meta.dirname, '../support/orphaning-parent.ts');
const ROUNDS = 5;
/** Keeps a broken run from hanging; it is no claim about speed. Loading lasts longer. */
const LIMIT_MS = 60_000;
const LOAD_MS = 10 * LIMIT_MS;

/** A zombie waits only for its reaper; it holds nothing. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return process.platform !== 'linux';
  }
}

async function killParent(when: string, args: readonly string[], environment: Record<string, string>) {
  const parent = spawn(process.execPath, [PARENT, SCRIPTED_SIDECAR, when, ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, ...environment },
  });
  const pid = await new Promise<number>((resolve) => {
    let text = '';
    parent.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) resolve(Number.parseInt(text, 10));
    });
  });
  assert.ok(isRunning(pid), 'the sidecar runs before its parent is killed');
  parent.kill('SIGKILL');
  const killed = performance.now();
  while (isRunning(pid) && performance.now() - killed < LIMIT_MS) await sleep(5);
  const ms = performance.now() - killed;
  assert.ok(!isRunning(pid), `the sidecar still runs ${Math.round(ms)} ms after its parent was killed`);
  return ms;
}

const CASES: readonly (readonly [when: string, environment: Record<string, string>])[] = [
  ['starting', {}],
  ['idle', {}],
  ['loading', { SCRIPTED_LOAD_BUSY_MS: String(LOAD_MS) }],
  ['generating', { SCRIPTED_ANSWER: 'x'.repeat(100_000), SCRIPTED_BUSY_MS: '300' }],
];

for (const [when, environment] of CASES) {
  for (const args of [['serve', '--protocol-fd', '3'], ['serve']]) {
    const how = args.length > 1 ? 'own descriptor' : 'stdout';
    test(`the sidecar is gone after its parent is killed while ${when}, ${how}`, async (t) => {
      const times: number[] = [];
      for (let i = 0; i < ROUNDS; i++) times.push(await killParent(when, args, environment));
      t.diagnostic(`gone after ${times.map((ms) => Math.round(ms)).join(', ')} ms`);
    });
  }
}
