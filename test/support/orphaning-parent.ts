/**
 * Starts the program named in its arguments as a sidecar, tells its process ids on stdout once it answers, and then waits
 * to be killed.
 */
import { spawn } from 'node:child_process';
import { createMessageConnection } from 'vscode-jsonrpc';
import 'vscode-jsonrpc/node';
import type { Readable, Writable } from 'node:stream';
import { createCodec } from '../../sidecar/protocol/codec.ts';
import { IN_OWN_SESSION } from '../../sidecar/protocol/launch.ts';

const [program, when, ...args] = process.argv.slice(2);
const own = args.includes('--protocol-fd');
const child = spawn(process.execPath, [program!, ...args], {
  stdio: ['pipe', 'pipe', 'inherit', ...(own ? (['pipe'] as const) : [])],
  detached: own && IN_OWN_SESSION,
});
const { reader, writer } = createCodec(
  (own ? child.stdio[3] : child.stdout) as Readable,
  child.stdin as Writable,
  {
    peerReadsPacked: true,
  },
);
const connection = createMessageConnection(reader, writer);
connection.listen();
const tell = () => process.stdout.write(`${child.pid}\n`);
if (when === 'starting') tell();
else {
  await connection.sendRequest('initialize', { processId: process.pid, rootUri: null, capabilities: {} });
  await connection.sendNotification('initialized', {});
  if (when === 'idle' || when === 'loading') tell();
  else {
    connection.onNotification('gemma/chatDelta', () => {
      tell();
    });
    const turns = [{ role: 'user', text: 'go' }];
    void connection.sendRequest('gemma/chat', { requestId: 'r', turns, useRepository: false });
  }
}
