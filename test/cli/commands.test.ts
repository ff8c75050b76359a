/** The engine's subcommands as a user calls them: one object with --json, exit codes, one line of reason. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { writeTinyModel } from '../support/tiny-model.ts';

const MAIN = path.resolve(import.meta.dirname, '../../sidecar/main.ts');
const folder = mkdtempSync(path.join(tmpdir(), 'cli-'));
const model = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(model));
after(() => rmSync(folder, { recursive: true }));

test('tokenize and detokenize are inverse', () => {
  const { ids } = json(['tokenize', 'the function "returns" ünï']) as { ids: number[] };
  assert.ok(ids.length > 3);
  assert.deepEqual(json(['detokenize', ids.join(',')]), { text: 'the function "returns" ünï' });
});

test('logits gives the top and the normaliser', () => {
  const { top, logsumexp } = json(['logits', '--tokens', '2,10,11', '--top', '3']) as {
    top: [number, number][];
    logsumexp: number;
  };
  assert.equal(top.length, 3);
  assert.ok(top[0]![1] >= top[1]![1] && top[0]![1] < logsumexp);
});

test('generate repeats with a seed and has exactly its fields', () => {
  const args = ['generate', '--prompt', 'get the', '--max-tokens', '6', '--seed', '3', '--raw', '--no-cache'];
  const first = json(args) as { ids: number[]; text: string; prompt_tokens: number };
  assert.deepEqual(Object.keys(first), [
    'ids',
    'text',
    'prompt_tokens',
    'cached_tokens',
    'disk_tokens',
    'read_tokens',
    'miss',
  ]);
  assert.deepEqual(json(args), first);
});

test('generate answers every prompt of a file as it answers each alone, and says how it ended', () => {
  const file = path.join(folder, 'prompts.jsonl');
  const prompts = ['get the', '<bos>x'];
  writeFileSync(file, `${prompts.map((prompt) => JSON.stringify(prompt)).join('\n')}\n`);
  const options = ['--max-tokens', '5', '--temperature', '0', '--raw'];
  const { results } = json(['generate', '--prompts-file', file, ...options]) as {
    results: { ids: number[]; reason: string }[];
  };
  const alone = prompts.map(
    (prompt) => json(['generate', '--prompt', prompt, ...options]) as { ids: number[] },
  );
  assert.deepEqual(
    results.map(({ ids }) => ids),
    alone.map(({ ids }) => ids),
  );
  assert.deepEqual(
    results.map(({ ids, reason }) => reason === (ids.length < 5 ? 'stop' : 'length')),
    [true, true],
  );
  writeFileSync(file, '"a"\nb\n');
  assert.match(call(['generate', '--prompts-file', file]).stderr, /prompts\.jsonl:2 is not a JSON string/);
});

test('perplexity of a random model is near its vocabulary', () => {
  const file = path.join(folder, 'text.txt');
  writeFileSync(file, 'the function returns '.repeat(100));
  const result = json(['perplexity', '--file', file, '--ctx', '64']) as {
    perplexity: number;
    tokens: number;
  };
  assert.ok(result.perplexity > 100 && result.tokens > 64);
});

test('bench --profile says what each kind of operation took', () => {
  const { profile } = json(['bench', '-p', '40', '-n', '1', '--repetitions', '1', '--profile']) as {
    profile: { name: string; runs: number; cpuSeconds: number; operations: number }[];
  };
  const products = profile.filter(({ operations }) => operations > 0);
  assert.ok(products.some(({ name }) => name.startsWith('matmul')));
  assert.ok(products.some(({ name }) => name.startsWith('attention')));
  assert.ok(products.every(({ runs, cpuSeconds }) => runs > 0 && cpuSeconds > 0));
});

test('quantize writes a file that loads, and reports the error of every tensor', () => {
  const out = path.join(folder, 'q8.gguf');
  const result = json(['quantize', model, out, '--type', 'q8_0', '--embedding', 'q4_0']) as {
    tensors: { name: string; to: string; relative_error: number }[];
  };
  const embedding = result.tensors.find(({ name }) => name === 'token_embd.weight');
  assert.equal(embedding?.to, 'Q4_0');
  assert.ok(embedding.relative_error > 0.01 && embedding.relative_error < 0.2);
  assert.equal(call(['logits', '--tokens', '2', '--model', out]).status, 0);
});

test('inspect lists memory at each context the model has', () => {
  const { memory } = json(['inspect', model]) as {
    memory: { context: number; kv_bytes: number; kv_int8_bytes: number; kv_int4_bytes: number }[];
  };
  const { kv_bytes, kv_int8_bytes, kv_int4_bytes } = memory.at(-1)!;
  assert.ok(kv_bytes > 0 && kv_int4_bytes > 0 && kv_int4_bytes < kv_int8_bytes);
  assert.deepEqual(
    memory.map(({ context }) => context),
    [4096, 8192],
  );
});

test('wrong usage exits with 2 and names the argument', () => {
  for (const [args, reason] of [
    [['logits'], /--tokens is needed/],
    [['logits', '--tokens', '2,x'], /"x" is not a token id/],
    [['generate', '--prompt', 'a', '--temperature', 'hot'], /--temperature needs a number/],
    [['generate', '--nonsense'], /--nonsense/],
    [['nonsense'], /no command "nonsense"/],
    [['quantize', 'a'], /input and an output/],
  ] as const) {
    const { status, stderr } = call(args);
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, reason);
  }
});

test('a failure exits with 1 and one line of reason', () => {
  const truncated = path.join(folder, 'truncated.gguf');
  writeTinyModel(truncated);
  truncateSync(truncated, 1_000_000);
  const foreign = path.join(folder, 'foreign.gguf');
  writeTinyModel(foreign, { metadata: { 'general.architecture': { kind: 'string', value: 'llama' } } });
  for (const [file, reason] of [
    [path.join(folder, 'absent.gguf'), /absent\.gguf/],
    [truncated, /truncated\.gguf is incomplete: it has 1000000 bytes/],
    [MAIN, /main\.ts is not a GGUF file: it starts with bytes/],
    [foreign, /foreign\.gguf: general\.architecture is "llama"/],
  ] as const) {
    const { status, stderr, stdout } = call(['logits', '--tokens', '2', '--json', '--model', file]);
    assert.equal(status, 1);
    assert.match(stderr, reason);
    assert.equal(stderr.trim().split('\n').length, 1);
    assert.equal(stdout, '');
  }
});

test('a reader that has enough, as `head` has, ends a command without an error', async () => {
  const child = spawn(process.execPath, [MAIN, 'doctor', '--model', model], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  // The first line comes long before the model is loaded and the later ones are written.
  child.stdout.once('data', () => child.stdout.destroy());
  const [code] = await once(child, 'close');
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '');
});

function call(args: readonly string[]) {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
}

function json(args: readonly string[]): unknown {
  const { status, stdout, stderr } = call([...args, '--model', model, '--json']);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}
