import assert from 'node:assert/strict';
import { it } from 'node:test';
import { memorySize } from '../../extension/memory-size.ts';

it('a size has two digits or more, in the unit that a person would use', () => {
  const MiB = 2 ** 20;
  assert.deepEqual([2.29 * MiB, 60 * MiB, 999 * MiB, 1000 * MiB, 2.4 * 1024 * MiB].map(memorySize), [
    '2.3 MiB',
    '60 MiB',
    '999 MiB',
    '1.0 GiB',
    '2.4 GiB',
  ]);
});
