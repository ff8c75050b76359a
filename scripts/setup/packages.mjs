import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun, root, SetupError, say, versionOf } from './command.mjs';

const nodeMajor = 24;
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';

/** The Node that everything runs on after the set-up: the one that the npm package `node` brings. */
export const nodePath = join(
  root,
  'node_modules',
  'node',
  'bin',
  process.platform === 'win32' ? 'node.exe' : 'node',
);

/**
 * Installs the packages of `folder` exactly as its lock says, when they are missing or the lock has changed.
 *
 * `npm install --no-save` and not `npm ci`: the lock names the optional binaries of the platforms that its writer's
 * registry offered, and `npm ci` refuses a lock that lacks another platform's binary even where that is not needed.
 */
export function ensurePackages(folder = root, args = []) {
  const lock = readFileSync(join(folder, 'package-lock.json'));
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const dependencies = JSON.stringify([manifest.dependencies, manifest.devDependencies]);
  const stamp = createHash('sha256').update(lock).update(dependencies).digest('hex');
  const stampFile = join(folder, 'node_modules', '.setup-stamp');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return false;

  say(`installing npm packages${folder === root ? '' : ` of ${manifest.name}`}`);
  mustRun(npm, ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error', ...args], {
    cwd: folder,
    fix: 'Is the npm registry reachable? Run `npm install` to see the whole output.',
  });
  writeFileSync(stampFile, stamp);
  return true;
}

/** Makes sure that the package `node` holds its binary, which its install script fetches and npm may have held back. */
export function ensureNode() {
  if (versionOf(nodePath)?.startsWith(`v${nodeMajor}.`)) return;
  say(`fetching Node ${nodeMajor}`);
  mustRun(process.execPath, ['installArchSpecificPackage'], {
    cwd: join(root, 'node_modules', 'node'),
    fix: 'Run `npm rebuild node`.',
  });
  const version = versionOf(nodePath);
  if (!version?.startsWith(`v${nodeMajor}.`)) {
    throw new SetupError(
      `${nodePath} is ${version ?? 'missing'}, but Node ${nodeMajor} is needed. Run \`npm rebuild node\`.`,
    );
  }
}
