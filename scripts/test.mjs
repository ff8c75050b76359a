/**
 * `npm test`: every check there is, and one closing line, `N passed, N failed, N skipped`.
 *
 *   node scripts/test.mjs [STEP...]     steps by name; all of them by default
 *
 * Each step is a process that ends with a line of the same form. One that crashes, hangs, or ends non-zero without
 * counting a failure counts as one failure. After the packages are built, two lanes run side by side: the native and
 * numeric suites keep the processors busy while the editor suites mostly wait.
 */
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { root, versionOf } from './setup/command.mjs';
import { findChromium } from './setup/system.mjs';

const stepLimitMs = 20 * 60_000;

const { name: packageName, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const vsix = join(root, 'out', `${packageName}-linux-${process.arch}-${version}.vsix`);
const unitFiles = globSync('test/**/*.test.ts', { cwd: root, exclude: ['**/node_modules', '**/fixtures'] });
const scenarioFiles = globSync('test/host/scenario/*.scenario.ts', { cwd: root });
const packageFiles = globSync('test/host/scenario/*.packaged.ts', { cwd: root });

const noBrowser = findChromium() === undefined ? 'Chromium is not installed' : undefined;
const noPackages = process.platform === 'linux' ? undefined : 'packages are built on Linux';
const noEmulator =
  process.arch === 'arm64' || (versionOf('aarch64-linux-gnu-g++') && versionOf('qemu-aarch64'))
    ? undefined
    : 'the arm64 cross compiler or qemu is not installed';

const script = (path, ...args) => [join('scripts', path), ...args];
const suites = (files, concurrency) => [
  '--test',
  '--test-reporter=./scripts/test-reporter.mjs',
  `--test-concurrency=${concurrency}`,
  // Only against hanging; no test claims to be fast.
  '--test-timeout=600000',
  ...files.sort(),
];

/** `args` are Node's; `skip` says why a step cannot run here; `env` is added to the environment. */
const steps = [
  { name: 'package', lane: 'first', args: script('package.mjs'), skip: noPackages ?? noEmulator },
  // The package holds minified bundles; everything else runs on the ones for work on them.
  { name: 'build', lane: 'first', args: ['esbuild.mjs'] },
  { name: 'lint', lane: 'numbers', args: script('lint.mjs') },
  { name: 'unit', lane: 'numbers', args: suites(unitFiles, 2) },
  { name: 'asan', lane: 'numbers', args: script('test-asan.mjs') },
  { name: 'arm64', lane: 'numbers', args: script('test-arm64.mjs'), skip: noEmulator },
  { name: 'training', lane: 'numbers', args: script('test-training.mjs') },
  { name: 'host', lane: 'editor', args: suites(scenarioFiles, 1), skip: noBrowser },
  {
    name: 'host-packaged',
    lane: 'editor',
    args: suites([...packageFiles, ...scenarioFiles], 1),
    env: { GEMMA_SIDECAR_EXTENSION: vsix },
    skip: noBrowser ?? noPackages ?? noEmulator,
  },
];

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !steps.some((step) => step.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `There is no step ${unknown.join(', ')}; there are ${steps.map(({ name }) => name).join(', ')}.\n`,
  );
  process.exit(2);
}

const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    for (const child of running) endGroup(child, 'SIGKILL');
    process.exit(130);
  });
}

const sum = { passed: 0, failed: 0, skipped: 0 };
await runLane('first');
await Promise.all([runLane('numbers'), runLane('editor')]);
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
process.exitCode = sum.failed === 0 ? 0 : 1;

async function runLane(lane) {
  for (const step of steps) {
    if (step.lane !== lane || (chosen.length > 0 && !chosen.includes(step.name))) continue;
    if (step.skip === undefined) await runStep(step);
    else {
      sum.skipped++;
      process.stdout.write(`== ${step.name}: skipped: ${step.skip}\n`);
    }
  }
}

/** Prints the whole output of a step at its end, so that the lanes do not mix. */
async function runStep({ name, args, env }) {
  process.stdout.write(`== ${name}: started\n`);
  const started = performance.now();
  const { code, output } = await outputOf(args, env);
  const counts = countsIn(output);
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  if (code === 0 && counts.passed + counts.failed + counts.skipped === 0) counts.passed = 1;
  for (const key of Object.keys(sum)) sum[key] += counts[key];

  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  const verdict = counts.failed === 0 ? 'ok' : `FAILED (exit code ${code})`;
  if (output.trim() !== '') process.stdout.write(`${output.trimEnd().replaceAll(/^/gm, `   ${name}| `)}\n`);
  process.stdout.write(`== ${name}: ${verdict}, ${seconds} s\n`);
}

function outputOf(args, env) {
  return new Promise((resolve) => {
    // A group of its own, so that a hanging step ends with everything that it started.
    const child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += stripVTControlCharacters(text);
      });
    }
    const timer = setTimeout(() => {
      output += `\nstopped after ${stepLimitMs / 60_000} minutes\n`;
      endGroup(child, 'SIGKILL');
    }, stepLimitMs);
    child.on('error', (error) => resolve({ code: 1, output: error.message }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code: code ?? signal, output });
    });
  });
}

/** The last line of the form `N passed, N failed[, N skipped]`; zeros where there is none. */
function countsIn(output) {
  const lines = [...output.matchAll(/^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm)];
  const [, passed = 0, failed = 0, skipped = 0] = lines.at(-1) ?? [];
  return { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) };
}

function endGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended by itself.
  }
}
