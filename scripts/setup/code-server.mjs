import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { mustRun, root, say, versionOf } from './command.mjs';
import { ensurePackages, nodePath } from './packages.mjs';

const folder = join(root, 'test', 'host', 'code-server');

/** The VS Code server inside the package code-server. */
export const vscodeRoot = join(folder, 'node_modules', 'code-server', 'lib', 'vscode');

/**
 * Installs code-server, a browser VS Code, into its own package folder (about 600 MB, hence on demand).
 *
 * Its install scripts want four system libraries for modules that we never use (Kerberos, key rings), so they do not
 * run: the server, terminals, search and file watching work with the prebuilt binaries. The logger and the parent
 * watchdog are compiled afterwards where that is possible; without the logger only the Output panel stays empty.
 */
export function ensureCodeServer() {
  ensurePackages(folder, ['--ignore-scripts']);
  const version = JSON.parse(readFileSync(join(vscodeRoot, 'package.json'), 'utf8')).version;
  const stampFile = join(vscodeRoot, '.setup-stamp');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === version) return;

  say('installing the packages of code-server, once (half a minute)');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const env = { ...process.env, PATH: `${dirname(nodePath)}${delimiter}${process.env.PATH}` };
  const install = [
    'install',
    '--no-save',
    '--omit=dev',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  const fix =
    'Is the npm registry reachable? `code` in PATH is used instead of code-server, where it is there.';
  mustRun(npm, install, { cwd: vscodeRoot, env, fix });
  mustRun(npm, install, { cwd: join(vscodeRoot, 'extensions'), env, fix });
  const compiled = spawnSync(npm, ['rebuild', '@vscode/spdlog', '@vscode/native-watchdog'], {
    cwd: vscodeRoot,
    env,
  });
  if (compiled.status !== 0)
    say('code-server runs without its native logger: the Output panel stays empty there');
  writeFileSync(stampFile, version);
}

/** Whether `npm start` can open the user's own VS Code. */
export function hasDesktopEditor() {
  const hasDisplay =
    process.platform !== 'linux' || Boolean(process.env.DISPLAY) || Boolean(process.env.WAYLAND_DISPLAY);
  return hasDisplay && versionOf(process.platform === 'win32' ? 'code.cmd' : 'code') !== undefined;
}
