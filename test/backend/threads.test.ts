/** The engine's threads beside an editor: how many there are, what priority they have, and that they rest. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type CpuBackend, createCpuBackend } from '../../sidecar/engine/backend/cpu/cpu-backend.ts';
import { loadNative } from '../../sidecar/engine/backend/cpu/native.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'threads-'));
after(() => rmSync(folder, { recursive: true }));

describe('by default there is a thread for each physical performance core', () => {
  const threads = (name: string, cpus: readonly Readonly<Record<string, number>>[]) => {
    const system = path.join(folder, name);
    for (const [i, files] of cpus.entries()) {
      for (const [file, value] of Object.entries(files)) {
        const at = path.join(system, `cpu${i}`, file);
        mkdirSync(path.dirname(at), { recursive: true });
        writeFileSync(at, `${value}\n`);
      }
    }
    return loadNative().performanceCores(cpus.length, system);
  };
  const cpu = (core: number, more: Readonly<Record<string, number>> = {}) => ({
    'topology/core_id': core,
    'topology/physical_package_id': 0,
    ...more,
  });

  test('hardware threads of a core count once, packages do not mix', () => {
    assert.equal(threads('smt', [cpu(0), cpu(1), cpu(0), cpu(1)]), 2);
    assert.equal(threads('packages', [cpu(0), { ...cpu(0), 'topology/physical_package_id': 1 }]), 2);
  });

  test('efficiency cores are told by their capacity, or by their clock rate', () => {
    const capacity = (value: number) => ({ cpu_capacity: value });
    assert.equal(
      threads(
        'arm',
        [446, 446, 1024, 1024, 1024].map((c, i) => cpu(i, capacity(c))),
      ),
      3,
    );
    const clock = (value: number) => ({ 'cpufreq/cpuinfo_max_freq': value });
    const hybrid = [5_200_000, 5_200_000, 4_900_000, 4_900_000, 3_900_000, 3_900_000, 3_900_000];
    assert.equal(
      threads(
        'hybrid',
        hybrid.map((hz, i) => cpu(i < 4 ? i >> 1 : i, clock(hz))),
      ),
      2,
    );
    const boosts = [5_700_000, 5_450_000, 5_250_000].map((hz, i) => cpu(i, clock(hz)));
    assert.equal(threads('boosts', boosts), 3);
  });

  test('where the system tells nothing, every processor counts', () => {
    assert.equal(threads('bare', [{}, {}, {}]), 3);
  });
});

test('the threads that compute run below the process, by as much as was asked for', async (t) => {
  if (process.platform !== 'linux') return t.skip('only Linux shows the priority of a thread');
  const before = niceOfThreads();
  const backend = createCpuBackend({ threads: 3, niceness: 7 });
  try {
    await work(backend);
    const started = [...niceOfThreads()].filter(([id]) => !before.has(id)).map(([, nice]) => nice);
    const own = before.get(process.pid)!;
    const lowered = started.filter((nice) => nice === Math.min(19, own + 7));
    // Two workers, and the dispatcher, which is the third.
    assert.equal(lowered.length, 3, `${started} beside ${own}`);
  } finally {
    backend.dispose();
  }
});

test('an engine without work takes no processor time', async () => {
  const backend = createCpuBackend({ threads: 3 });
  try {
    await work(backend);
    // A thread that spins takes what the machine has left all the time; what the runtime does after starting ends.
    const used: number[] = [];
    for (let window = 0; window < 8; window++) {
      const before = process.cpuUsage();
      await pause(400);
      const { user, system } = process.cpuUsage(before);
      used.push((user + system) / 1000);
      if (used.at(-1)! < 20) return;
    }
    assert.fail(`milliseconds of processor time in each 400: ${used.join(', ')}`);
  } finally {
    backend.dispose();
  }
});

async function work(backend: CpuBackend): Promise<void> {
  const data = new Uint8Array(4 * 512 * 512).fill(1);
  const weight = await backend.loadMatrix({ name: 'w', type: 'F32', rows: 512, columns: 512, data });
  const x = backend.createActivation(4, 512);
  const out = backend.createActivation(4, 512);
  const pass = backend.createPass();
  for (let i = 0; i < 20; i++) pass.matmul(x, [{ weight, out }], 4);
  await pass.submit();
}

/** By thread id. */
function niceOfThreads(): Map<number, number> {
  return new Map(
    readdirSync('/proc/self/task').map((id) => {
      const fields = readFileSync(`/proc/self/task/${id}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      return [Number(id), Number(fields[16])];
    }),
  );
}
