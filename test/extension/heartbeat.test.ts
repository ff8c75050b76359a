import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Heartbeat } from '../../extension/heartbeat.ts';

const SETTLED = () => new Promise((resolve) => setImmediate(resolve));

function setting(
  ping: () => Promise<unknown>,
  patient = false,
): { heartbeat: Heartbeat; hangs: () => number } {
  let hangs = 0;
  const heartbeat = new Heartbeat({ ping, isPatient: () => patient, onHang: () => hangs++ });
  return { heartbeat, hangs: () => hangs };
}

describe('the heartbeat', () => {
  it('calls a sidecar hung after four beats without an answer, and only once', () => {
    const { heartbeat, hangs } = setting(() => new Promise(() => {}));
    const seen = Array.from({ length: 5 }, () => {
      heartbeat.beat();
      return hangs();
    });
    assert.deepEqual(seen, [0, 0, 0, 0, 1]);
    heartbeat.stop();
  });

  it('waits longer while a model is loaded', () => {
    const { heartbeat, hangs } = setting(() => new Promise(() => {}), true);
    for (let beat = 0; beat < 30; beat++) heartbeat.beat();
    assert.equal(hangs(), 0);
    heartbeat.beat();
    assert.equal(hangs(), 1);
  });

  it('starts to count anew after each answer, even a refusal', async () => {
    const pending: (() => void)[] = [];
    const { heartbeat, hangs } = setting(
      () => new Promise((_, reject) => pending.push(() => reject(new Error('no')))),
    );
    for (let round = 0; round < 4; round++) {
      for (let beat = 0; beat < 4; beat++) heartbeat.beat();
      pending.shift()?.();
      await SETTLED();
    }
    assert.equal(hangs(), 0);
  });
});
