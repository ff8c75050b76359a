import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { temporaryFolder } from '../support/repository.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../support/head-process.ts');

test('four windows that keep, read and clear heads at once: none ever reads a wrong one, and none is left half written', async () => {
  const cache = temporaryFolder();
  const windows = ['0', '1', '2', '3'].map(async (salt) => {
    const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, cache, salt, '60']);
    return JSON.parse(stdout) as { readonly read: number; readonly wrong: number };
  });
  const reports = await Promise.all(windows);
  assert.ok(reports.reduce((sum, { read }) => sum + read, 0) > 0, 'they read what others wrote');
  assert.deepEqual(
    reports.map(({ wrong }) => wrong),
    [0, 0, 0, 0],
  );
  const left = readdirSync(path.join(cache, 'heads'));
  assert.ok(left.length <= 32 && left.every((name) => name.endsWith('.head')), left.join(' '));
});
