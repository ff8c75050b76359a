/**
 * Builds the native engine: `node scripts/build-native.mjs [--asan] [--target linux-arm64]`.
 *
 * Configures and builds with CMake in build/native-<target>[-asan] and puts the addon at
 * dist/native/<target>[-asan]/engine.node. Does nothing if no source is newer than the addon. Nothing is
 * downloaded: the Node-API headers come from the packages node-api-headers and node-addon-api.
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sources = join(root, 'sidecar/engine/backend/cpu');

/** Compiler and processor name of each target that can be cross-compiled. */
const CROSS = {
  'linux-arm64': { compiler: 'aarch64-linux-gnu-g++', processor: 'aarch64' },
  'linux-x64': { compiler: 'x86_64-linux-gnu-g++', processor: 'x86_64' },
};

const { values } = parseArgs({
  options: { asan: { type: 'boolean', default: false }, target: { type: 'string' } },
});
const host = `${process.platform}-${process.arch}`;
const target = values.target ?? host;
const cross = target === host ? undefined : CROSS[target];
if (target !== host && cross === undefined) {
  process.stderr.write(
    `Cannot build for ${target} here; choose ${host} or ${Object.keys(CROSS).join(', ')}.\n`,
  );
  process.exit(2);
}

const suffix = values.asan ? '-asan' : '';
const build = join(root, 'build', `native-${target}${suffix}`);
const output = join(root, 'dist/native', `${target}${suffix}`, 'engine.node');

mkdirSync(build, { recursive: true });
const unlock = lock(join(build, '.lock'));
try {
  if (!existsSync(output) || statSync(output).mtimeMs < newestSource()) compile();
  process.stderr.write(`${output}\n`);
} catch (error) {
  process.stderr.write(`build-native: ${error.message}\n`);
  process.exitCode = 1;
} finally {
  unlock();
}

function compile() {
  const options = [
    `-DCMAKE_BUILD_TYPE=None`,
    `-DGS_SANITIZE=${values.asan ? 'ON' : 'OFF'}`,
    `-DGS_NODE_HEADERS=${join(root, 'node_modules/node-api-headers/include')}`,
    `-DGS_NODE_ADDON_API=${join(root, 'node_modules/node-addon-api')}`,
  ];
  if (cross !== undefined) {
    options.push(
      '-DCMAKE_SYSTEM_NAME=Linux',
      `-DCMAKE_SYSTEM_PROCESSOR=${cross.processor}`,
      `-DCMAKE_CXX_COMPILER=${cross.compiler}`,
    );
  }
  run('cmake', ['-S', sources, '-B', build, ...options]);
  run('cmake', ['--build', build, '--parallel', process.env.GEMMA_SIDECAR_BUILD_JOBS ?? '2']);
  mkdirSync(dirname(output), { recursive: true });
  // A process may have the old addon mapped: replace the name, never the bytes under it.
  copyFileSync(join(build, 'engine.node'), `${output}.new`);
  renameSync(`${output}.new`, output);
}

/** Two builds in one folder spoil each other's dependency lists: the second waits for the first. */
function lock(file) {
  for (;;) {
    try {
      writeFileSync(file, `${process.pid}`, { flag: 'wx' });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (!isRunning(file)) rmSync(file, { force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
}

/** Whether the process that wrote the lock is alive. An empty file is one being written. */
function isRunning(file) {
  try {
    const owner = Number(readFileSync(file, 'utf8'));
    if (owner > 0) process.kill(owner, 0);
    return true;
  } catch (error) {
    return error.code !== 'ESRCH';
  }
}

/** Modification time of the newest file the addon is made from, this script included. */
function newestSource() {
  const files = readdirSync(sources, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h|map|txt)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
  return Math.max(...[...files, fileURLToPath(import.meta.url)].map((file) => statSync(file).mtimeMs));
}

function run(command, args) {
  try {
    // Diagnostics belong on stderr: stdout may be the protocol of whoever called.
    execFileSync(command, args, { stdio: ['ignore', process.stderr, 'inherit'] });
  } catch (error) {
    throw new Error(
      error.code === 'ENOENT' ? `${command} is not installed.` : `${command} failed; see above.`,
    );
  }
}
