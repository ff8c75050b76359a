/**
 * Runs the suite of `suite/` in a desktop VS Code, on a machine that has one:
 *
 *   node test/host/run-electron.ts [PATH OF THE VS CODE EXECUTABLE]
 *
 * Without a path, @vscode/test-electron downloads one.
 */
import { runTests } from '@vscode/test-electron';
import { fixtureWorkspace, repository } from './scenario/setting.ts';

const workspace = fixtureWorkspace();
const executable = process.argv[2];
try {
  process.exitCode = await runTests({
    ...(executable === undefined ? {} : { vscodeExecutablePath: executable }),
    extensionDevelopmentPath: repository,
    extensionTestsPath: `${repository}/dist/test/host.cjs`,
    launchArgs: [workspace.folder, '--disable-extensions'],
  });
} finally {
  workspace.remove();
}
