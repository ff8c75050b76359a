/**
 * The suite that runs inside the extension host, bundled to dist/test/host.cjs. code-server (`npm run test:host`) and
 * a desktop VS Code (`run-electron.ts`) both load this module and call `run`.
 */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';
import { activationSuite } from './activation.ts';
import { completionSuite } from './completion.ts';
import type { HostReport } from './report.ts';
import { sidecarSuite } from './sidecar.ts';

/** Rejects when a test failed; writes a HostReport to the file that GEMMA_SIDECAR_HOST_REPORT names. */
export async function run(): Promise<void> {
  const mocha = new Mocha({ ui: 'bdd', timeout: 90_000, reporter: Mocha.reporters.Base });
  // What Mocha does before it loads a file; our suites are already in this bundle.
  mocha.suite.emit('pre-require', {}, '', mocha);
  activationSuite();
  sidecarSuite();
  completionSuite();

  const report: HostReport = { tests: [] };
  const failures = await new Promise<number>((resolve) => {
    const runner = mocha.run(resolve);
    runner.on('pass', (test) => report.tests.push({ title: test.fullTitle(), outcome: 'passed' }));
    runner.on('pending', (test) => report.tests.push({ title: test.fullTitle(), outcome: 'skipped' }));
    runner.on('fail', (test, error: Error) => {
      report.tests.push({ title: test.fullTitle(), outcome: 'failed', error: error.stack ?? error.message });
    });
  });
  for (const test of report.tests)
    console.log(`[host suite] ${test.outcome}: ${test.title} ${test.error ?? ''}`);
  const file = process.env['GEMMA_SIDECAR_HOST_REPORT'];
  if (file !== undefined) writeFileSync(file, JSON.stringify(report));
  if (failures > 0) throw new Error(`${failures} of ${report.tests.length} tests in the editor failed`);
}
