import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TimeLeft } from '../../sidecar/session/time-left.ts';

test('the time left follows this reading once it has been seen for a while', () => {
  const left = new TimeLeft(undefined);
  assert.equal(left.after(0, 1000, 0, 0), undefined);
  assert.equal(left.after(50, 1000, 0, 100), undefined);
  assert.equal(left.after(200, 1000, 0, 1000), 4);
  assert.equal(left.after(1000, 1000, 0, 5000), 0);
});

test('before that, the usual speed serves; tokens that were cached say nothing about speed', () => {
  const left = new TimeLeft(100);
  assert.equal(left.after(500, 1000, 500, 0), 5);
  assert.equal(left.after(600, 1000, 500, 2000), 8);
});
