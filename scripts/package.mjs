/**
 * Packages the extension as a VSIX: `node scripts/package.mjs [--target linux-x64|linux-arm64]...`, all targets by
 * default. Leaves out/gemma-sidecar-<target>-<version>.vsix, which holds the engine, the built-in model and no other
 * platform's binary.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createVSIX } from '@vscode/vsce';

const root = fileURLToPath(new URL('..', import.meta.url));
const targets = ['linux-x64', 'linux-arm64'];
const { values } = parseArgs({ options: { target: { type: 'string', multiple: true, default: targets } } });
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const unknown = values.target.filter((target) => !targets.includes(target));
if (unknown.length > 0) fail(`There is no target ${unknown.join(', ')}; there are ${targets.join(' and ')}.`);
if (!readdirSync(join(root, 'models')).some((file) => file.endsWith('.gguf'))) {
  fail('models/ holds no .gguf file: the package would have no built-in model.');
}

const shipped = readFileSync(join(root, '.vscodeignore'), 'utf8');
const anyAddon = '!dist/native/*/engine.node';
if (!shipped.includes(anyAddon)) fail(`.vscodeignore lacks the line ${anyAddon}.`);

run('esbuild.mjs', '--production');
for (const folder of ['out', 'build']) mkdirSync(join(root, folder), { recursive: true });
for (const target of values.target) {
  run('scripts/build-native.mjs', '--target', target);
  if (!existsSync(join(root, 'dist', 'native', target, 'engine.node')))
    fail(`There is no addon for ${target}.`);
  const packagePath = join(root, 'out', `${name}-${target}-${version}.vsix`);
  const ignoreFile = join(root, 'build', `vscodeignore-${target}`);
  writeFileSync(ignoreFile, shipped.replace(anyAddon, `!dist/native/${target}/engine.node`));
  // The README's links are to files beside it; without a published repository there is nothing to rewrite them to.
  const rewriteRelativeLinks = false;
  await createVSIX({
    cwd: root,
    packagePath,
    target,
    dependencies: false,
    ignoreFile,
    rewriteRelativeLinks,
  });
}

function run(script, ...args) {
  execFileSync(process.execPath, [join(root, script), ...args], { cwd: root, stdio: 'inherit' });
}

function fail(message) {
  process.stderr.write(`package: ${message}\n`);
  process.exit(1);
}
