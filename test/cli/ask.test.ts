/** The commands a user meets first, with a real engine on a tiny model: what they answer is noise, how they answer is not. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { runtimeDetail } from '../../sidecar/cli/doctor.ts';
import { temporaryFolder } from '../support/repository.ts';
import { runCli } from '../support/run-cli.ts';
import { writeTinyModel } from '../support/tiny-model.ts';

const models = temporaryFolder();
const model = path.join(models, 'nano.gguf');
const repo = temporaryFolder({
  'src/a.ts': 'export function add(a: number, b: number): number {\n  return a + b;\n}\n',
  '.env': 'KEY=1',
});

before(() => writeTinyModel(model));

test('ask --json gives the answer and its account in one object', async () => {
  const run = await runCli([
    'ask',
    '--model',
    model,
    '--ctx',
    '1024',
    '--repo',
    repo,
    '--json',
    'Where is add?',
  ]);
  assert.equal(run.code, 0, run.stderr);
  const result = JSON.parse(run.stdout);
  assert.deepEqual(Object.keys(result), [
    'answer',
    'prompt_tokens',
    'cached_tokens',
    'disk_tokens',
    'read_tokens',
    'miss',
    'generated_tokens',
    'prefill_ms',
    'decode_ms',
    'files',
  ]);
  assert.ok(result.prompt_tokens > 50 && result.generated_tokens > 0);
  assert.equal(result.files[0].path, 'src/a.ts');
  assert.match(run.stderr, /Reading 1 files/);
  assert.match(run.stderr, /left out: 1 secret/);
});

test('ask twice in a row reads the repository once', async () => {
  const cache = path.join(models, 'kv');
  const args = ['ask', '--model', model, '--repo', repo, '--cache-dir', cache, '--json', 'Where is add?'];
  const [first, second] = [await runCli(args), await runCli(args)].map((run) => JSON.parse(run.stdout));
  assert.equal(first.miss.reason, 'new');
  assert.equal(second.disk_tokens, 64 * Math.floor((second.prompt_tokens - 1) / 64));
  assert.equal(second.read_tokens, second.prompt_tokens - second.disk_tokens);
  assert.equal(second.answer, first.answer);
  const held = JSON.parse((await runCli(['cache', '--cache-dir', cache, '--verify', '--json'])).stdout);
  assert.ok(held.bytes > 0 && held.verified.blocks > 0);
  assert.equal(held.verified.damaged, 0);
  const cleared = JSON.parse((await runCli(['cache', '--cache-dir', cache, '--clear', '--json'])).stdout);
  assert.equal(cleared.freed_bytes, held.bytes);
  assert.equal(JSON.parse((await runCli(args)).stdout).disk_tokens, 0);
});

test('ask without --json prints the answer alone on stdout', async () => {
  const run = await runCli(['ask', '--model', model, '--ctx', '512', '--no-repo', 'Hello']);
  assert.equal(run.code, 0, run.stderr);
  assert.ok(run.stdout.length > 0);
  assert.doesNotMatch(run.stdout, /Reading|left out/);
});

test('what cannot work says why in one line and exits with 1', async () => {
  const notModel = path.join(temporaryFolder({ 'x.gguf': 'not a model' }), 'x.gguf');
  const cases: readonly (readonly [args: readonly string[], reason: RegExp])[] = [
    [
      ['ask', '--model', model, '--ctx', '512', '--no-repo', 'word '.repeat(3000)],
      /The question takes [\d,]+ tokens, but/,
    ],
    [['ask', '--model', model, '--repo', temporaryFolder(), 'hi'], /has no files\. Open a folder/],
    [['ask', '--model', model, '--repo', path.join(repo, 'gone'), 'hi'], /cannot be read: it does not exist/],
    [['ask', '--model', path.join(models, 'none.gguf'), '--repo', repo, 'hi'], /none\.gguf does not exist/],
    [['ask', '--model', notModel, '--repo', repo, 'hi'], /not a GGUF file/i],
    [['ask', '--model', models, '--repo', repo, 'hi'], /not a (model )?file/],
    [
      ['doctor', '--model', path.join(models, 'none.gguf')],
      /^gemma-sidecar: model header: .*Choose a complete Gemma 3/,
    ],
  ];
  for (const [args, reason] of cases) {
    const run = await runCli(args);
    const last = run.stderr.trimEnd().split('\n').at(-1) ?? '';
    assert.equal(run.code, 1, `${args.slice(0, 4).join(' ')}: ${run.stderr}`);
    assert.match(last, reason);
    assert.match(last, /^gemma-sidecar: /);
  }
});

test('wrong usage exits with 2 and names the argument', async () => {
  for (const [args, reason] of [
    [['ask'], /ask needs a question/],
    [['complete', '--file', model], /--line is needed/],
    [
      ['complete', '--file', path.join(repo, 'src/a.ts'), '--line', '9', '--column', '1', '--model', model],
      /--line 9 is past the end/,
    ],
  ] as const) {
    const run = await runCli(args);
    assert.equal(run.code, 2, run.stderr);
    assert.match(run.stderr, reason);
  }
});

test('complete and doctor answer in JSON', async () => {
  const place = ['--file', path.join(repo, 'src/a.ts'), '--line', '2', '--column', '9'];
  const complete = await runCli(['complete', '--model', model, '--json', ...place]);
  assert.equal(complete.code, 0, complete.stderr);
  const { text, ms } = JSON.parse(complete.stdout);
  assert.equal(typeof text, 'string');
  assert.ok(ms > 0);
  const doctor = await runCli(['doctor', '--model', model, '--repo', repo, '--json']);
  assert.equal(doctor.code, 0, doctor.stderr);
  const { ok, checks } = JSON.parse(doctor.stdout);
  assert.ok(ok);
  assert.deepEqual(
    checks.map((c: { name: string }) => c.name),
    [
      'runtime',
      'native engine',
      'model file',
      'model header',
      'memory',
      'engine',
      'first token',
      'workspace',
    ],
  );
});

test('doctor names the first hop that fails, and the fix', async () => {
  const broken = path.join(temporaryFolder({ 'engine.node': 'not a library' }), 'engine.node');
  const cases: readonly (readonly [
    args: readonly string[],
    environment: Record<string, string>,
    line: RegExp,
  ])[] = [
    [[], { GEMMA_SIDECAR_NATIVE: broken }, /native engine: Cannot load the native engine .*npm run build/],
    [[], { GEMMA_SIDECAR_NATIVE: `${broken}.gone` }, /native engine: Cannot load .*npm run build/],
    [
      ['--repo', path.join(repo, 'gone')],
      {},
      /workspace: .*gone cannot be read: it does not exist\..*--repo/,
    ],
    [['--repo', temporaryFolder()], {}, /workspace: .*has no files\. Name a readable folder/],
  ];
  for (const [args, environment, line] of cases) {
    const run = await runCli(['doctor', '--model', model, '--json', ...args], { environment });
    assert.equal(run.code, 1, run.stderr);
    assert.match(run.stderr.replaceAll('\n', ' '), line);
    const { ok, checks } = JSON.parse(run.stdout);
    assert.equal(ok, false);
    assert.deepEqual(
      checks.map((c: { ok: boolean }) => c.ok),
      [...checks.slice(1).map(() => true), false],
    );
  }
});

test('doctor refuses a Node.js that is too old', () => {
  assert.throws(() => runtimeDetail('18.20.4'), /Node\.js 18\.20\.4 is too old/);
  assert.match(runtimeDetail('20.0.0'), /^Node\.js 20\.0\.0/);
});
