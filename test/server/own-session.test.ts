/** The sidecar's session is lowered behind the editor's, and no session but its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { IN_OWN_SESSION } from '../../sidecar/protocol/launch.ts';

const MODULE = fileURLToPath(new URL('../../sidecar/server/own-session.ts', import.meta.url));
const skip = existsSync('/proc/self/autogroup') ? false : 'this system shares processors without autogroups';

/** Prints whether it lowered its session by 7, and how the session then stands. */
const SCRIPT = `
  import { readFileSync } from 'node:fs';
  import { lowerOwnSession } from ${JSON.stringify(MODULE)};
  const lowered = await lowerOwnSession(7);
  console.log(JSON.stringify({ lowered, autogroup: readFileSync('/proc/self/autogroup', 'utf8') }));
`;

interface Outcome {
  readonly lowered: boolean;
  readonly autogroup: string;
}

function run(detached: boolean): Promise<Outcome> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached,
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve(JSON.parse(text) as Outcome));
  });
}

test('a process that leads its session lowers it', { skip }, async () => {
  const { lowered, autogroup } = await run(IN_OWN_SESSION);
  assert.equal(lowered, true);
  assert.match(autogroup, / nice 7$/m);
});

test('a process in a session of others leaves that as it is', { skip }, async () => {
  const before = readFileSync('/proc/self/autogroup', 'utf8');
  const { lowered } = await run(false);
  assert.equal(lowered, false);
  assert.equal(readFileSync('/proc/self/autogroup', 'utf8'), before);
});

test('a sidecar that serves an editor lowers its session', { skip, timeout: 120_000 }, async () => {
  const main = fileURLToPath(new URL('../../sidecar/main.ts', import.meta.url));
  const sidecar = spawn(process.execPath, [main, 'serve', '--protocol-fd', '3'], {
    stdio: ['pipe', 'ignore', 'ignore', 'ignore'],
    detached: IN_OWN_SESSION,
  });
  const ended = new Promise((resolve) => {
    sidecar.on('exit', resolve);
  });
  try {
    // It fails, by the test's own time limit, only if that never comes.
    while (!/ nice 5$/m.test(readFileSync(`/proc/${sidecar.pid}/autogroup`, 'utf8'))) {
      await sleep(50);
    }
  } finally {
    sidecar.kill('SIGKILL');
    await ended;
  }
});
