import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CrashBudget } from '../../extension/crash-budget.ts';

describe('the crash budget', () => {
  it('waits longer after each crash, and ends with the fifth in three minutes', () => {
    const budget = new CrashBudget();
    const delays = [0, 10_000, 20_000, 30_000, 40_000].map((time) => budget.crashed(time));
    assert.deepEqual(delays, [250, 500, 1_000, 2_000, null]);
  });

  it('forgets crashes that are three minutes old', () => {
    const budget = new CrashBudget();
    for (const time of [0, 1, 2, 3]) budget.crashed(time);
    assert.equal(budget.crashed(180_003), 250);
  });

  it('is full again after a restart that a person asked for', () => {
    const budget = new CrashBudget();
    for (const time of [0, 1, 2, 3]) budget.crashed(time);
    budget.reset();
    assert.equal(budget.crashed(4), 250);
  });
});
