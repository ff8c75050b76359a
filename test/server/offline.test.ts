/** The sidecar answers in a network namespace that has no network at all. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createMessageConnection, StreamMessageReader, StreamMessageWriter } from 'vscode-jsonrpc/node';
import type { ChatParams, ChatResult, InitializationOptions } from '../../sidecar/protocol/methods.ts';

const sidecar = fileURLToPath(new URL('../../sidecar/main.ts', import.meta.url));
const workspace = new URL('../fixtures/host-workspace/', import.meta.url);

/** Names of the network interfaces that a process started through `prefix` sees, with those that are up marked. */
function interfacesBehind([command, ...args]: readonly string[]): string[] | undefined {
  const script = "console.log(Object.keys(require('node:os').networkInterfaces()).join())";
  const result = spawnSync(command!, [...args, process.execPath, '-e', script], { encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim().split(',').filter(Boolean) : undefined;
}

const withoutNetwork = [
  ['unshare', '--net'],
  ['unshare', '--user', '--map-root-user', '--net'],
].find((prefix) => interfacesBehind(prefix) !== undefined);

test('the sidecar answers with no network', {
  skip: withoutNetwork === undefined && 'this machine gives no network namespace (unshare --net)',
}, async () => {
  const [command, ...prefix] = withoutNetwork!;
  assert.deepEqual(interfacesBehind(withoutNetwork!), [], 'interfaces that are up');

  const child = spawn(command!, [...prefix, process.execPath, sidecar, 'serve'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const connection = createMessageConnection(
    new StreamMessageReader(child.stdout),
    new StreamMessageWriter(child.stdin),
  );
  connection.listen();
  try {
    const initializationOptions: InitializationOptions = { workspaceTrusted: true, completionEnabled: false };
    await connection.sendRequest('initialize', {
      processId: process.pid,
      rootUri: workspace.href,
      workspaceFolders: [{ uri: workspace.href, name: 'shop' }],
      capabilities: {},
      initializationOptions,
    });
    await connection.sendNotification('initialized', {});
    const params: ChatParams = {
      requestId: 'offline',
      turns: [{ role: 'user', text: 'Where is `total` defined?' }],
      useRepository: true,
    };
    const result = await connection.sendRequest<ChatResult>('gemma/chat', params);
    assert.ok(result.generatedTokens > 0);
    assert.ok(result.files.some(({ path }) => path === 'src/price.ts'));
    await connection.sendRequest('shutdown');
    await connection.sendNotification('exit');
  } catch (error) {
    throw new Error(`The sidecar did not answer. Its log:\n${log}`, { cause: error });
  } finally {
    connection.dispose();
    child.kill('SIGKILL');
  }
});
