/** Runs the suite of `../suite/` inside an extension host of code-server and reports each of its tests. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Workbench } from '../browser.ts';
import { startServer } from '../server.ts';
import type { HostReport } from '../suite/report.ts';
import { extensionSource, fixtureWorkspace, installedExtension } from './setting.ts';

const suite = fileURLToPath(new URL('../../../dist/test/host.cjs', import.meta.url));
const suiteTimeoutMs = 300_000;

test('suite inside the extension host', async (context) => {
  const packaged = extensionSource.endsWith('.vsix');
  const workspace = fixtureWorkspace();
  const report = join(workspace.parent, 'host-report.json');
  const server = await startServer({
    automation: true,
    ...(packaged ? { extension: extensionSource } : {}),
    env: { GEMMA_SIDECAR_HOST_REPORT: report },
  });
  const workbench = await Workbench.launch();
  const log: string[] = [];
  try {
    const exited = new Promise<number>((resolve) => {
      void workbench.page.exposeFunction('codeAutomationExit', (code: number) => resolve(code));
      setTimeout(() => resolve(-1), suiteTimeoutMs).unref();
    });
    await workbench.page.exposeFunction('codeAutomationLog', (_type: string, args: unknown[]) =>
      log.push(args.join(' ')),
    );
    const extension = packaged ? installedExtension(server.dataDirectory) : extensionSource;
    await workbench.open(server.origin, workspace.folder, {
      extensionDevelopmentPath: `vscode-remote://remote${extension}`,
      extensionTestsPath: `vscode-remote://remote${suite}`,
    });
    const code = await exited;
    assert.ok(
      existsSync(report),
      `The suite ended (${code}) without a report.\n${log.slice(-40).join('\n')}`,
    );
    const { tests } = JSON.parse(readFileSync(report, 'utf8')) as HostReport;
    assert.ok(tests.length > 0);
    for (const { title, outcome, error } of tests) {
      await context.test(title, { skip: outcome === 'skipped' }, () =>
        assert.equal(outcome, 'passed', error),
      );
    }
    const anyFailed = tests.some(({ outcome }) => outcome === 'failed');
    assert.equal(code, anyFailed ? 1 : 0, 'exit code of the editor');
  } finally {
    await workbench.close();
    await server.stop();
    workspace.remove();
  }
});
