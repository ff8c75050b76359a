/** What the build of the addon leaves in the file. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'node:test';

const ADDON = join(import.meta.dirname, `../../dist/native/linux-${process.arch}/engine.node`);

test('the addon shows Node its entry points and nothing of the C++ library, which Node has too', {
  skip: process.platform !== 'linux' && 'only ELF looks symbols up in whatever was loaded first',
}, () => {
  const symbols = execFileSync('nm', ['--dynamic', '--defined-only', '--format=just-symbols', ADDON], {
    encoding: 'utf8',
  });
  assert.deepEqual(symbols.trim().split('\n').sort(), [
    'napi_register_module_v1',
    'node_api_module_get_api_version_v1',
  ]);
});
