import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The VS Code server inside code-server, started directly: code-server's wrapper refuses the automation switch. */
const serverMain = fileURLToPath(
  new URL('code-server/node_modules/code-server/lib/vscode/out/server-main.js', import.meta.url),
);

export interface ServerOptions {
  /** User settings, written before the first page opens: later edits from outside are not noticed. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Settings of scope `machine`, which the editor takes from the machine that the server is on. */
  readonly machineSettings?: Readonly<Record<string, unknown>>;
  /** Unlocks in-host tests; it also suppresses notification toasts, so scenarios run without it. */
  readonly automation?: boolean;
  /** A `.vsix` file, which is installed, or the folder of an unpacked extension, which is loaded where it is. */
  readonly extension?: string;
  /** Added to the environment of the server, and so of the extension host and the sidecar. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: any free port. */
  readonly port?: number;
}

export interface HostServer {
  /** `http://127.0.0.1:PORT` */
  readonly origin: string;
  /** Holds settings, installed extensions and logs; removed by `stop`. */
  readonly dataDirectory: string;
  readonly process: ChildProcess;
  /** Ends the server with everything that it started, and removes its data. */
  stop(): Promise<void>;
}

const quietSettings = {
  'workbench.startupEditor': 'none',
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'update.mode': 'none',
  'telemetry.telemetryLevel': 'off',
  // The editor's own chat wants an account.
  'chat.disableAIFeatures': true,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
};

/**
 * Starts a VS Code server with throw-away data folders.
 * Throws where code-server is not installed (`node scripts/setup.mjs test`) or the server ends before it listens.
 */
export async function startServer(options: ServerOptions = {}): Promise<HostServer> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'gemma-sidecar-host-'));
  const userDirectory = join(dataDirectory, 'user', 'User');
  mkdirSync(userDirectory, { recursive: true });
  const settings = { ...quietSettings, ...options.settings };
  writeFileSync(join(userDirectory, 'settings.json'), JSON.stringify(settings, null, 2));

  if (options.machineSettings !== undefined) {
    mkdirSync(join(dataDirectory, 'user', 'Machine'), { recursive: true });
    writeFileSync(
      join(dataDirectory, 'user', 'Machine', 'settings.json'),
      JSON.stringify(options.machineSettings),
    );
  }

  const folders = [
    ['--server-data-dir', dataDirectory],
    ['--user-data-dir', join(dataDirectory, 'user')],
    ['--extensions-dir', join(dataDirectory, 'extensions')],
  ].flat();
  const accept = '--accept-server-license-terms';
  if (options.extension?.endsWith('.vsix')) {
    await install([accept, ...folders, '--install-extension', options.extension, '--force']);
  } else if (options.extension !== undefined) {
    // The workbench honours extensionDevelopmentPath only under automation; a link to the folder always works.
    mkdirSync(join(dataDirectory, 'extensions'));
    symlinkSync(options.extension, join(dataDirectory, 'extensions', 'under-development'), 'dir');
  }
  const child = spawn(
    process.execPath,
    [
      serverMain,
      ...['--host', '127.0.0.1', '--port', String(options.port ?? 0)],
      ...[accept, '--without-connection-token', '--disable-telemetry', '--telemetry-level', 'off'],
      // A window that closed would otherwise keep its extension host, and our sidecar, for three hours.
      ...['--disable-workspace-trust', '--reconnection-grace-time', '2'],
      ...folders,
      ...(options.automation ? ['--enable-smoke-test-driver'] : []),
    ],
    // A group of its own, so that `stop` reaches the processes that the server starts.
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.env }, detached: true },
  );
  const port = await listeningPort(child);
  return {
    origin: `http://127.0.0.1:${port}`,
    dataDirectory,
    process: child,
    stop: async () => {
      await endGroup(child);
      rmSync(dataDirectory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

async function install(args: string[]): Promise<void> {
  const child = spawn(process.execPath, [serverMain, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const [code] = await once(child, 'exit');
  if (code !== 0 || !output.includes('successfully installed')) {
    throw new Error(`The editor did not install the extension (exit code ${code}):\n${output}`);
  }
}

async function listeningPort(child: ChildProcess): Promise<number> {
  let output = '';
  child.stderr?.on('data', (chunk) => (output += chunk));
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`The VS Code server ended before it listened (exit code ${code}):\n${output}`);
  });
  const listening = (async () => {
    for await (const line of createInterface({ input: child.stdout! })) {
      output += `${line}\n`;
      const match = /Extension host agent listening on (\d+)/.exec(line);
      if (match) {
        child.stdout!.resume();
        return Number(match[1]);
      }
    }
    throw new Error(`The VS Code server closed its output before it listened:\n${output}`);
  })();
  ended.catch(() => {});
  return Promise.race([listening, ended]);
}

/** SIGTERM to the server's group, then SIGKILL after five seconds to what is left of it. */
async function endGroup(child: ChildProcess): Promise<void> {
  const group = child.pid;
  if (group === undefined) return;
  signalGroup(group, 'SIGTERM');
  const deadline = Date.now() + 5000;
  while (signalGroup(group, 0) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  signalGroup(group, 'SIGKILL');
}

/** False when no process of the group is left. */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch {
    return false;
  }
}
