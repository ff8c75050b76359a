/**
 * The KV store under kills, power loss, damage, failing calls, a full disk and several processes at once.
 * KV_STORE_CASES=10 makes 1,000 kills and 100,000 shared operations of them.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { NODE_FILES } from '../../sidecar/engine/kv/store/files.ts';
import { clearStore, reportStore, verifyStore } from '../../sidecar/engine/kv/store/limits.ts';
import { failure, MemoryFiles } from '../support/memory-files.ts';
import { seededRandom } from '../support/random.ts';
import { blocksOf, openStore, readAll, writeAll } from '../support/store-blocks.ts';

const CASES = Number(process.env['KV_STORE_CASES'] ?? 1);

const root = mkdtempSync(path.join(tmpdir(), 'kv-store-'));
after(() => rmSync(root, { recursive: true, force: true }));
/** Bundled, so that the hundreds of processes below start in half the time. */
const PROCESS = path.join(root, 'store-process.mjs');
before(() =>
  build({
    entryPoints: [path.resolve(import.meta.dirname, '../support/store-process.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: PROCESS,
  }),
);

/** What a store of `count` blocks of each class leaves on a file system in memory. */
async function writtenFiles(count: number): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  const store = openStore({ folder: '/kv', files });
  writeAll(store, blocksOf(store, 1, count));
  await store.close();
  return files;
}

async function given(files: MemoryFiles, count: number): Promise<number> {
  const store = openStore({ folder: '/kv', files });
  await store.refresh();
  return readAll(store, blocksOf(store, 1, count));
}

describe('damage', () => {
  test('10,000 flips and truncations give misses and never a wrong byte', async () => {
    const good = [...(await writtenFiles(3)).contents].map(([name, { bytes }]) => [name, bytes] as const);
    const random = seededRandom(11);
    let misses = 0;
    for (let round = 0; round < 10_000; round++) {
      const bad = new Map<string, Buffer>(good);
      const [name, bytes] = good[round % good.length]!;
      const at = Math.floor(random() * bytes.length);
      const damaged = Buffer.from(bytes);
      // Half of the flips go into headers, which are a small part of the bytes.
      const header = [0, 4096, 4096 + (bytes.length - 4096) / 3][round % 3]!;
      if (round % 4 === 0) bad.set(name, damaged.subarray(0, at));
      else {
        damaged[round % 4 === 1 ? at : Math.floor(header + random() * 512)]! ^= 1 << Math.floor(random() * 8);
        bad.set(name, damaged);
      }
      const left = await given(MemoryFiles.of(bad), 3);
      if (left < 6) misses++;
    }
    // Some flips hit the zeros behind a header's description or beyond the last record's payload, or cut nothing.
    assert.ok(misses > 9000, `${misses} of 10,000 noticed`);
  });

  test('a struck record stays away, and a foreign file is deleted', async () => {
    const files = await writtenFiles(2);
    for (const { bytes } of files.contents.values()) bytes[4096 + 600]! ^= 1;
    assert.equal(await given(files, 2), 2);
    const store = openStore({ folder: '/kv', files });
    await store.refresh();
    assert.equal(store.has('global', blocksOf(store, 1, 2)[0]!.key), false);
    const foreign = createHash('sha256').update('another model').digest();
    const name = [...files.contents.keys()][0]!;
    const elsewhere = `/kv/${foreign.toString('hex', 0, 16)}/${path.basename(name)}`;
    files.contents.set(elsewhere, files.contents.get(name)!);
    const other = openStore({ folder: '/kv', files }, foreign);
    await other.refresh();
    assert.equal(files.contents.has(elsewhere), false);
  });
});

test('10,000 states that a power loss may leave hold right blocks or none', async () => {
  const random = seededRandom(5);
  let states = 0;
  let held = 0;
  for (let round = 0; states < 10_000; round++) {
    const files = new MemoryFiles();
    const stopAt = 1 + (round % 24);
    let calls = 0;
    files.before = (operation) => {
      if (['write', 'rename', 'datasync', 'sync'].includes(operation) && ++calls > stopAt)
        throw failure('EIO');
    };
    const store = openStore({ folder: '/kv', files, retryMs: 1e9 });
    writeAll(store, blocksOf(store, 1, 3));
    await store.flush();
    for (let torn = 0; torn < 50; torn++, states++) {
      held += await given(MemoryFiles.of(files.afterPowerLoss(random)), 3);
    }
  }
  assert.ok(held > states, 'some states hold blocks');
});

test('every call that fails is survived, said once, and tried again', async () => {
  for (const code of ['EIO', 'ENOSPC', 'EACCES', 'EBUSY', 'EINTR']) {
    let total = 1;
    for (let n = 1; n <= total; n++) {
      const files = new MemoryFiles();
      let calls = 0;
      files.before = () => {
        if (++calls === n) throw failure(code);
      };
      const notices: string[] = [];
      const store = openStore({ folder: '/kv', files, onNotice: (sentence) => notices.push(sentence) });
      const blocks = blocksOf(store, 1, 3);
      await store.refresh();
      writeAll(store, blocks);
      await store.flush();
      writeAll(store, blocks);
      await store.flush();
      await store.refresh();
      await readAll(store, blocks);
      await store.close();
      total = Math.max(total, calls);
      assert.ok(notices.length <= 1, `${code} at call ${n}: ${notices.length} notices`);
      files.before = () => {};
      assert.ok((await given(files, 3)) >= 4, `${code} at call ${n}`);
    }
    assert.ok(total > 30, `${total} calls`);
  }
});

test(`${100 * CASES} kills at random times leave nothing but right blocks`, async () => {
  const folder = path.join(root, 'kills');
  const random = seededRandom(3);
  let sum = 0;
  for (let round = 0; round < 50 * CASES; round++) {
    await Promise.all(
      [0, 1].map(async (lane) => {
        const child = worker(folder, 2 * round + lane, 1e6);
        await firstOutput(child);
        await pause(random() * 40);
        child.kill('SIGKILL');
        await exited(child);
      }),
    );
    const store = openStore({ folder });
    await store.refresh();
    for (let salt = 0; salt < 12; salt++) sum += await readAll(store, blocksOf(store, salt, 6));
    if (round % 10 === 9) await clearStore(folder);
  }
  assert.ok(sum > 0);
});

const noStrace =
  process.platform !== 'linux' || spawnSync('strace', ['-V']).status !== 0
    ? 'strace is not installed'
    : false;
test('a kill at every single write, sync and rename leaves nothing but right blocks', {
  skip: noStrace,
}, async () => {
  for (const call of ['pwrite64', 'fdatasync', 'rename']) {
    for (let n = 1, killed = true; killed; n++) {
      const folder = path.join(root, `${call}-${n}`);
      const inject = ['-f', '-qq', '-e', `trace=${call}`, '-e', `inject=${call}:signal=KILL:when=${n}`];
      // One round: 6 blocks of each class.
      const run = spawnSync('strace', [...inject, process.execPath, PROCESS, folder, '1', '1'], {
        encoding: 'utf8',
        // strace counts calls of each thread by itself: one thread makes them all.
        env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
      });
      killed = run.signal === 'SIGKILL' || run.status === 137;
      const store = openStore({ folder });
      await store.refresh();
      const held = await readAll(store, blocksOf(store, 1, 6));
      if (!killed) {
        assert.equal(held, 12, run.stderr);
        assert.ok(n > 2, `${call} was called ${n - 1} times`);
      }
    }
  }
});

const cannotMount =
  process.platform !== 'linux' || process.getuid?.() !== 0 ? 'mounting needs root on Linux' : false;
test('a full disk is survived, and used again once there is room', { skip: cannotMount }, async (t) => {
  const folder = path.join(root, 'small');
  execFileSync('mkdir', ['-p', folder]);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder]).status !== 0) {
    t.skip('this container may not mount');
    return;
  }
  try {
    const notices: string[] = [];
    const store = openStore({ folder, onNotice: (sentence) => notices.push(sentence) });
    const blocks = blocksOf(store, 1, 40);
    writeAll(store, blocks);
    await store.flush();
    assert.equal(notices.length, 1);
    const held = await readAll(store, blocks);
    assert.ok(held > 0 && held < 80, `${held} blocks`);
    await clearStore(folder);
    await store.refresh();
    writeAll(store, blocks.slice(0, 3));
    await store.flush();
    const again = openStore({ folder });
    await again.refresh();
    assert.equal(await readAll(again, blocks.slice(0, 3)), 6);
    await store.close();
  } finally {
    spawnSync('umount', [folder]);
  }
});

test('too little free space is refused in advance', async () => {
  const files = new MemoryFiles();
  files.free = 1000;
  const notices: string[] = [];
  const store = openStore({ folder: '/kv', files, onNotice: (sentence) => notices.push(sentence) });
  writeAll(store, blocksOf(store, 1, 2));
  await store.close();
  assert.equal(files.contents.size, 0);
  assert.match(notices[0] ?? '', /not kept on disk for now: less than the space to be left free/);
});

const SHARED = 10_000 * CASES;
test(`${SHARED} operations of four processes on a store that is full and cleared meanwhile, one of them stopped`, async (t) => {
  const folder = path.join(root, 'shared');
  const rounds = Math.ceil(SHARED / (3 * 26));
  const children = [0, 1, 2, 3].map((salt) => worker(folder, salt, salt === 0 ? 5 : rounds, 1_000_000, 0.02));
  const outputs = children.map(allOutput);
  await Promise.all(children.map(firstOutput));
  const [stopped] = children;
  stopped!.kill('SIGSTOP');
  // Whoever waited for the stopped one would never end: it goes on only afterwards.
  await Promise.all(children.slice(1).map(exited));
  stopped!.kill('SIGCONT');
  await exited(stopped!);
  const sum = { operations: 0, given: 0, cleared: 0 };
  for (const [i, output] of outputs.entries()) {
    const result = JSON.parse((await output).trim().split('\n').at(-1)!);
    for (const key of ['operations', 'given', 'cleared'] as const) sum[key] += result[key];
    if (i > 0) t.diagnostic(`The longest operation of process ${i} took ${Math.ceil(result.longestMs)} ms.`);
  }
  assert.ok(sum.operations >= SHARED, `${sum.operations} operations`);
  assert.ok(sum.given > 0 && sum.cleared > 0, 'some found what others or they themselves wrote');
  assert.equal((await verifyStore(folder)).damaged, 0);
  const { bytes } = await reportStore(folder);
  assert.ok(bytes <= 4_000_000, `${bytes} bytes`);
});

test('what was used longest ago goes first, and what is too old goes', async () => {
  const folder = path.join(root, 'limits');
  for (const salt of [1, 2, 3]) {
    const store = openStore({ folder });
    writeAll(store, blocksOf(store, salt, 4));
    await store.close();
    await pause(20);
  }
  const reader = openStore({ folder });
  await reader.refresh();
  const total = (await reportStore(folder)).bytes;
  assert.equal(await readAll(reader, blocksOf(reader, 1, 4)), 8);
  await reader.close();
  const limited = openStore({ folder, mostBytes: total - 1 });
  writeAll(limited, blocksOf(limited, 4, 1));
  await limited.close();
  const after1 = openStore({ folder });
  await after1.refresh();
  assert.equal(await readAll(after1, blocksOf(after1, 1, 4)), 8, 'just used');
  assert.ok((await readAll(after1, blocksOf(after1, 2, 4))) < 8, 'used longest ago');
  const old = openStore({ folder, mostAgeMs: 0, files: NODE_FILES });
  await pause(10);
  writeAll(old, blocksOf(old, 5, 1));
  await old.close();
  assert.equal((await reportStore(folder)).segments, 2);
});

function worker(folder: string, salt: number, rounds: number, mostBytes = 1e9, clears = 0): ChildProcess {
  const args = [PROCESS, folder, ...[salt, rounds, mostBytes, clears].map(String)];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

function firstOutput(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout!.once('data', () => resolve());
    child.once('exit', () => reject(new Error('The process ended before it began.')));
  });
}

async function allOutput(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout!) text += String(chunk);
  return text;
}

function exited(child: ChildProcess): Promise<void> {
  return child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once('exit', () => resolve()));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
