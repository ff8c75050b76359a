import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import * as vscode from 'vscode';
import { eventually } from '../eventually.ts';
import { childSidecars } from '../processes.ts';
import { extensionUnderTest } from './extension.ts';

export function sidecarSuite(): void {
  describe('sidecar process', () => {
    before(function () {
      if (process.platform !== 'linux') this.skip();
    });

    it('is one child of the extension host and runs from inside the extension', async () => {
      await vscode.commands.executeCommand('gemmaSidecar.sidecar.restart');
      const [sidecar] = await eventually('a sidecar', ownSidecars);
      assert.ok(sidecar!.command.includes(extensionUnderTest().extensionPath), sidecar!.command);
      assert.equal(ownSidecars()?.length, 1);
    });

    it('comes back after it was killed', async () => {
      const [first] = await eventually('a sidecar', ownSidecars);
      process.kill(first!.pid, 'SIGKILL');
      const [second] = await eventually('another sidecar', () => ownSidecars((pid) => pid !== first!.pid));
      assert.notEqual(second!.pid, first!.pid);
    });

    it('is replaced by the restart command', async () => {
      const [first] = await eventually('a sidecar', ownSidecars);
      await vscode.commands.executeCommand('gemmaSidecar.sidecar.restart');
      await eventually('the new sidecar alone', () => {
        const running = ownSidecars();
        return running?.length === 1 && running[0]!.pid !== first!.pid;
      });
    });
  });
}

/** Undefined where there is none, so that it can be waited for. */
function ownSidecars(accept: (pid: number) => boolean = () => true) {
  const running = childSidecars(process.pid).filter(({ pid }) => accept(pid));
  return running.length > 0 ? running : undefined;
}
