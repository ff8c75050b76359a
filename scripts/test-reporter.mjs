/**
 * Reporter for `node --test`: prints what failed and what was skipped, by name, and ends with the line that
 * scripts/test.mjs adds up. A file that cannot be loaded arrives here as a failed test with the file's name.
 */
import { inspect } from 'node:util';

export default async function* report(source) {
  let [passed, failed, skipped] = [0, 0, 0];
  for await (const { type, data } of source) {
    // A suite only holds tests, except where it fails by itself, in a hook for instance.
    const isSuite = data?.details?.type === 'suite';
    if (type === 'test:pass' && data.skip !== undefined) {
      if (isSuite) continue;
      skipped++;
      yield `skipped: ${data.name}${typeof data.skip === 'string' && data.skip !== '' ? ` (${data.skip})` : ''}\n`;
    } else if (type === 'test:pass' && !isSuite) {
      passed++;
    } else if (type === 'test:fail') {
      const error = data.details.error;
      // A parent fails because of its tests, which are reported already.
      if (error?.failureType === 'subtestsFailed') continue;
      failed++;
      const where = data.file === undefined ? '' : ` (${data.file}:${data.line})`;
      yield `failed: ${data.name}${where}\n${inspect(error?.cause ?? error)}\n`;
    } else if (type === 'test:stderr' && process.env.GEMMA_SIDECAR_TEST_VERBOSE) {
      yield data.message;
    }
  }
  yield `${passed} passed, ${failed} failed, ${skipped} skipped\n`;
}
