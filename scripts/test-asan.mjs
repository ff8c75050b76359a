/**
 * Runs the backend tests against an addon built with AddressSanitizer and UndefinedBehaviorSanitizer:
 * `node scripts/test-asan.mjs`. Any finding ends the process that made it, and so fails the run.
 *
 * Node itself is not instrumented, so the sanitizer's runtime is preloaded, and leaks, of which V8 reports
 * many at exit, are not looked for. Linux with g++ only; elsewhere the run is skipped by name.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup/command.mjs';

const compiler = process.env.CXX ?? 'g++';
const runtime = sanitizerRuntime();
if (runtime === undefined) {
  process.stdout.write(
    `skipped: sanitizer tests (${compiler} on ${process.platform} has no libasan to preload)\n` +
      '0 passed, 0 failed, 1 skipped\n',
  );
} else {
  execFileSync(process.execPath, [join(root, 'scripts/build-native.mjs'), '--asan'], {
    stdio: ['ignore', 2, 2],
  });
  const target = `${process.platform}-${process.arch}-asan`;
  const files = globSync('test/backend/*.test.ts', { cwd: root }).sort();
  const { status } = spawnSync(
    process.execPath,
    ['--test', '--test-reporter=./scripts/test-reporter.mjs', '--test-concurrency=1', ...files],
    {
      cwd: root,
      stdio: 'inherit',
      env: {
        ...process.env,
        GEMMA_SIDECAR_NATIVE: join(root, 'dist/native', target, 'engine.node'),
        GEMMA_SIDECAR_TEST_CASES: process.env.GEMMA_SIDECAR_TEST_CASES ?? '0.3',
        // The reporter prints a test process's stderr, where the sanitizers write, only if asked.
        GEMMA_SIDECAR_TEST_VERBOSE: '1',
        LD_PRELOAD: runtime,
        // allocator_may_return_null: the tests ask for more memory than there is, and want the refusal.
        ASAN_OPTIONS: 'detect_leaks=0:allocator_may_return_null=1:abort_on_error=0',
        UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
      },
    },
  );
  process.exitCode = status ?? 1;
}

/** The runtime that the addon will be linked against, or undefined where there is none to preload. */
function sanitizerRuntime() {
  if (process.platform !== 'linux') return undefined;
  const { status, stdout } = spawnSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  // Where there is no such file, the compiler prints the bare name.
  const path = status === 0 ? stdout.trim() : '';
  return existsSync(path) ? path : undefined;
}
