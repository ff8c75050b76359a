import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { inSlices, sortedInSlices } from '../../sidecar/context/slices.ts';

test('sorting in slices is sorting, also of more than one slice, and stable', async () => {
  const items = fc.array(fc.record({ key: fc.integer({ min: 0, max: 50 }), id: fc.integer() }), {
    minLength: 0,
    maxLength: 13_000,
    size: 'max',
  });
  await fc.assert(
    fc.asyncProperty(items, async (list) => {
      const compare = (a: { key: number }, b: { key: number }) => a.key - b.key;
      assert.deepEqual(await sortedInSlices(list, compare), list.toSorted(compare));
    }),
    { numRuns: 12 },
  );
});

test('long work lets other work in between, and is ended by its signal', async () => {
  const abort = new AbortController();
  const busy = () => {
    const end = performance.now() + 5;
    while (performance.now() < end);
  };
  let done = 0;
  setImmediate(() => abort.abort());
  await assert.rejects(
    inSlices(
      Array.from({ length: 1000 }, () => 0),
      () => {
        busy();
        done++;
      },
      abort.signal,
    ),
    { name: 'AbortError' },
  );
  assert.ok(done < 1000, `${done} of 1000 done`);
});
