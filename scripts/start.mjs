/**
 * Opens the editor with the extension loaded and a folder as its workspace: `npm start [-- FOLDER]`, by default this
 * repository. The user's own VS Code where there is one, else code-server in a browser.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startServer } from '../test/host/server.ts';
import { hasDesktopEditor } from './setup/code-server.mjs';
import { root } from './setup/command.mjs';

const { positionals } = parseArgs({ allowPositionals: true });
const folder = resolve(process.env.INIT_CWD ?? root, positionals[0] ?? root);
if (!existsSync(folder)) {
  process.stderr.write(`start: there is no folder ${folder}\n`);
  process.exit(1);
}
if (hasDesktopEditor()) openDesktopEditor();
else await openInBrowser();

function openDesktopEditor() {
  const code = process.platform === 'win32' ? 'code.cmd' : 'code';
  const opened = spawnSync(code, ['--new-window', `--extensionDevelopmentPath=${root}`, folder], {
    stdio: 'inherit',
  });
  if (opened.status === 0)
    process.stdout.write('VS Code opens with Gemma Sidecar: the gem in the activity bar.\n');
  else process.exitCode = 1;
}

async function openInBrowser() {
  const server = await startServer({ extension: root });
  const address = new URL(server.origin);
  address.searchParams.set('folder', folder);
  process.stdout.write(`\n  Gemma Sidecar is ready: ${address.href}\n`);
  process.stdout.write(
    '  Open it in a browser, then choose the gem in the activity bar. Ctrl+C ends everything.\n\n',
  );
  showInBrowser(address.href);

  let ending = false;
  const end = async (code) => {
    if (ending) return;
    ending = true;
    await server.stop();
    process.exit(code);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => void end(0));
  server.process.on('exit', (code) => {
    if (ending) return;
    process.stderr.write(`start: the editor ended by itself (exit code ${code})\n`);
    void end(1);
  });
}

/** Only where there is a screen to show it on. */
function showInBrowser(address) {
  const opener = { darwin: 'open', win32: 'explorer' }[process.platform] ?? 'xdg-open';
  if (opener === 'xdg-open' && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) return;
  spawn(opener, [address], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref();
}
