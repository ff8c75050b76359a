/**
 * Types, lint rules and layout of the code: `node scripts/lint.mjs [--write]`. With `--write`, fixes what can be fixed.
 * Exits non-zero when anything is left; each check prints its own findings.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, versionOf } from './setup/command.mjs';

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
const bin = (name) => join(root, 'node_modules', '.bin', name);
const tracked = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
}).stdout.split('\n');
const native = tracked.filter((path) => /\.(cc|h)$/.test(path));

const checks = [
  { name: 'types', command: bin('tsc'), args: ['-p', '.'] },
  { name: 'types of the page', command: bin('tsc'), args: ['-p', 'webview'] },
  {
    name: 'Biome',
    command: bin('biome'),
    args: ['check', ...(values.write ? ['--write'] : []), '--error-on-warnings'],
  },
];
if (versionOf('clang-format') === undefined)
  process.stdout.write('skipped: C++ layout (clang-format is not installed)\n');
else if (native.length > 0) {
  const mode = values.write ? ['-i'] : ['--dry-run', '-Werror'];
  checks.push({ name: 'C++ layout', command: 'clang-format', args: [...mode, ...native] });
}

let failed = 0;
for (const { name, command, args } of checks) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.status === 0) continue;
  failed++;
  process.stdout.write(
    `failed: ${name}\n${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n`,
  );
}
process.stdout.write(`${checks.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
