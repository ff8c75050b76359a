/**
 * The miniature training run and the tests of the training code: `node scripts/test-training.mjs`. Makes training/.venv
 * with what training/requirements.txt names. Where that cannot be installed, the step is skipped by name.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup/command.mjs';

const folder = join(root, 'training');
const requirements = join(folder, 'requirements.txt');
const venv = join(folder, '.venv');
const python = join(venv, 'bin', 'python');

const missing = install();
if (missing !== undefined) {
  process.stdout.write(`skipped: training (${missing})\n0 passed, 0 failed, 1 skipped\n`);
} else {
  const env = { ...process.env, JAX_PLATFORMS: 'cpu' };
  const { status, stdout, stderr } = run(python, ['-m', 'pytest', '-q', '-rs', '--color=no', 'tests'], {
    cwd: folder,
    env,
  });
  process.stdout.write(`${stdout}${stderr}`);
  const count = (word) =>
    Number(new RegExp(`(\\d+) ${word}`).exec(stdout.trimEnd().split('\n').at(-1) ?? '')?.[1] ?? 0);
  const failed = count('failed') + count('error');
  // Pytest ends non-zero with nothing failed where it found no test or could not start.
  const broken = status !== 0 && failed === 0 ? 1 : 0;
  process.stdout.write(`${count('passed')} passed, ${failed + broken} failed, ${count('skipped')} skipped\n`);
  process.exitCode = status === 0 ? 0 : 1;
}

/** Undefined when everything is there, otherwise the reason why it is not. */
function install() {
  const wanted = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  const stamp = join(venv, 'setup-stamp');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return undefined;
  const steps = [
    ['python3', ['-m', 'venv', venv], 'Python 3 with venv is not installed'],
    [
      python,
      ['-m', 'pip', 'install', '--quiet', '-r', requirements],
      'pip could not install training/requirements.txt',
    ],
  ];
  for (const [command, args, reason] of steps) {
    const { status, stderr } = run(command, args);
    if (status !== 0) return `${reason}: ${stderr.trim().split('\n').at(-1)}`;
  }
  writeFileSync(stamp, wanted);
  return undefined;
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  return {
    status: result.status,
    stdout: result.stdout ?? '',
    stderr: result.stderr ?? result.error?.message ?? '',
  };
}
