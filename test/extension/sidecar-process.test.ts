import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { describeExit } from '../../extension/failure.ts';
import { SidecarProcess, scrubbedEnvironment } from '../../extension/sidecar-process.ts';

describe('the sidecar process', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'gemma-sidecar-process-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Starts `script` as the sidecar. */
  function start(script: string): { process: SidecarProcess; log: string[] } {
    const entry = join(folder, `${Math.abs(hash(script))}.cjs`);
    writeFileSync(entry, script);
    const log: string[] = [];
    return {
      process: new SidecarProcess({ entry, workingDirectory: folder }, (line) => log.push(line)),
      log,
    };
  }

  it('speaks on its own descriptor; stdout and stderr are log', async () => {
    const { process, log } = start(`
      const fs = require('node:fs');
      console.log('to stdout');
      console.error('to stderr');
      fs.writeSync(3, process.argv.slice(2).join(' '));
      process.stdin.on('data', (data) => fs.writeSync(3, ' ' + data)).on('end', () => process.exit(7));
    `);
    process.input.write('hello');
    let received = '';
    for await (const chunk of process.output) {
      received += chunk;
      if (received.endsWith('hello')) break;
    }
    await process.stop();
    const exit = await process.exited;
    assert.equal(received, 'serve --protocol-fd 3 hello');
    assert.deepEqual([...log].sort(), ['to stderr', 'to stdout']);
    assert.equal(describeExit(exit), 'exit code 7');
  });

  it('can be debugged: an inspector listens where it is told to', async () => {
    const entry = join(folder, 'inspected.cjs');
    writeFileSync(entry, 'process.stdin.resume();');
    let address = '';
    const found = new Promise<void>((resolve) => {
      const process = new SidecarProcess(
        { entry, workingDirectory: folder, runtimeArguments: ['--inspect=127.0.0.1:0'] },
        (line) => {
          address ||= /^Debugger listening on ws:\/\/(\S+?)\//.exec(line)?.[1] ?? '';
          if (address === '') return;
          running = process;
          resolve();
        },
      );
    });
    let running: SidecarProcess | undefined;
    await found;
    const targets: unknown = await (await fetch(`http://${address}/json/list`)).json();
    await running?.stop();
    assert.match(address, /^127\.0\.0\.1:\d+$/);
    assert.ok(Array.isArray(targets) && targets[0].url.endsWith('inspected.cjs'), JSON.stringify(targets));
  });

  it('is killed when it does not leave', async () => {
    const { process } = start('setInterval(() => {}, 1000);');
    await process.stop();
    const exit = await process.exited;
    assert.equal(exit.signal, 'SIGKILL');
    assert.equal(describeExit(exit), 'it did not leave');
  });

  it('reports a working directory that is not there instead of throwing', async () => {
    const process = new SidecarProcess(
      { entry: 'none.cjs', workingDirectory: join(folder, 'none') },
      () => {},
    );
    assert.match(describeExit(await process.exited), /could not be started/);
  });

  it('does not see tokens, proxies or loader options', () => {
    const seen = scrubbedEnvironment({
      PATH: '/bin',
      HOME: '/home/a',
      LC_ALL: 'C',
      GEMMA_SIDECAR_DEV: 'x',
      GITHUB_TOKEN: 'secret',
      NODE_OPTIONS: '--require ./evil.js',
      LD_PRELOAD: '/tmp/evil.so',
      HTTPS_PROXY: 'http://proxy',
    });
    assert.deepEqual(Object.keys(seen).sort(), ['GEMMA_SIDECAR_DEV', 'HOME', 'LC_ALL', 'PATH']);
  });
});

function hash(text: string): number {
  return [...text].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) | 0, 7);
}
