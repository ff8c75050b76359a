/** Images on the command line, with the fixtures' tower beside a model that it leads to. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { temporaryFolder } from '../support/repository.ts';
import { runCli } from '../support/run-cli.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';
import { TOWER_FILE } from '../support/tower-file.ts';
import { twoColours } from '../webview/picture-files.ts';

const IMAGES = path.join(import.meta.dirname, '../fixtures/images');
const PHOTO = path.join(IMAGES, 'baseline.jpg');
const folder = temporaryFolder();
const model = path.join(folder, 'model.gguf');
const blind = path.join(temporaryFolder(), 'blind.gguf');
before(() => {
  writeTinyModel(model, { shape: { ...MODEL_SHAPES.nano, hidden: 32 }, branchScale: 0.5 });
  copyFileSync(model, blind);
  copyFileSync(TOWER_FILE, path.join(folder, 'mmproj-model.gguf'));
});
const common = () => ['--model', model, '--threads', '1', '--ctx', '1024', '--json'];

test('ask --image shows images with the question, and tells what their details would cost', async () => {
  const wide = path.join(folder, 'wide.png');
  writeFileSync(wide, twoColours(900, 300));
  const ask = (...more: string[]) => runCli(['ask', 'What?', '--no-repo', ...common(), ...more]);
  const plain = JSON.parse((await ask()).stdout) as { prompt_tokens: number };
  const one = await ask('--image', PHOTO, '--image', wide);
  assert.match(one.stderr, /Small text in wide\.png.*--read-details shows 3 parts, \d+ more tokens/);
  const shown = JSON.parse(one.stdout) as {
    prompt_tokens: number;
    images: { width: number; tokens: number }[];
  };
  assert.deepEqual(
    shown.images.map(({ width, tokens }) => [width, tokens]),
    [
      [24, 8],
      [900, 8],
    ],
  );
  assert.equal(shown.prompt_tokens, plain.prompt_tokens + 16);
  const detailed = await ask('--image', wide, '--read-details');
  assert.match(detailed.stderr, /Reading details of wide\.png: 3 parts, (\d+) more tokens/);
  const more = Number(/(\d+) more tokens/.exec(detailed.stderr)![1]);
  const { prompt_tokens } = JSON.parse(detailed.stdout) as { prompt_tokens: number };
  assert.equal(prompt_tokens, plain.prompt_tokens + 8 + more);
});

test('encode writes the soft tokens that logits --image puts behind a marker', async () => {
  const out = path.join(folder, 'soft.f32');
  const encoded = await runCli(['encode', PHOTO, '--out', out, ...common()]);
  const { tokens, width } = JSON.parse(encoded.stdout) as { tokens: number; width: number };
  assert.deepEqual([tokens, width], [4, 32]);
  const soft = new Float32Array(new Uint8Array(readFileSync(out)).buffer);
  assert.equal(soft.length, 4 * 32);
  assert.ok(soft.every(Number.isFinite));
  const letterboxed = await runCli(['encode', PHOTO, '--letterbox', '--out', out, ...common()]);
  assert.equal(letterboxed.code, 0);
  assert.notDeepEqual(new Float32Array(new Uint8Array(readFileSync(out)).buffer), soft);

  const logits = async (list: string, ...images: string[]) => {
    const args = images.flatMap((image) => ['--image', image]);
    return runCli(['logits', '--tokens', list, ...args, ...common()]);
  };
  const top = async (...args: Parameters<typeof logits>) =>
    (JSON.parse((await logits(...args)).stdout) as { top: [number, number][] }).top;
  const [start, end, blank] = [6, 7, 12];
  const framed = await top(`2,${blank},${start},${end},${blank},20,21`, PHOTO);
  assert.deepEqual(await top('2,20,21', PHOTO), framed);
  assert.notDeepEqual(await top('2,20,21', path.join(IMAGES, 'rgb.png')), framed);
  assert.notDeepEqual(await top('2,20,21'), framed);
  const uneven = await logits(`2,${start},${end},20`, PHOTO, PHOTO);
  assert.equal(uneven.code, 2);
  assert.match(uneven.stderr, /has 1 <start_of_image>, but there are 2 images/);
});

test('encode keeps what it made on disk, which cache shows and clears', async () => {
  const args = ['--cache-dir', temporaryFolder(), '--json'];
  const encode = async () =>
    (JSON.parse((await runCli(['encode', PHOTO, '--model', model, ...args])).stdout) as { cached: boolean })
      .cached;
  assert.deepEqual([await encode(), await encode()], [false, true]);
  const shown = JSON.parse((await runCli(['cache', ...args])).stdout) as { images: number };
  assert.equal(shown.images, 1);
  const cleared = JSON.parse((await runCli(['cache', '--clear', ...args])).stdout) as { freed_bytes: number };
  assert.ok(cleared.freed_bytes >= 512);
  assert.equal(await encode(), false);
});

test('inspect shows the tower of a projector file, of a model beside one, and why there is none', async () => {
  const inspect = async (...args: string[]) => {
    const { stdout } = await runCli(['inspect', ...args, '--json']);
    return JSON.parse(stdout) as {
      image_tower: { layers: number; tokens: number; loaded_bytes: number } | null;
      image_problem?: string | null;
    };
  };
  const alone = await inspect(TOWER_FILE);
  assert.deepEqual([alone.image_tower?.layers, alone.image_tower?.tokens], [2, 4]);
  const beside = await inspect(model);
  assert.equal(beside.image_tower?.loaded_bytes, alone.image_tower?.loaded_bytes);
  assert.equal(beside.image_problem, null);
  const none = await inspect(blind);
  assert.equal(none.image_tower, null);
  assert.match(none.image_problem ?? '', /no image tower/);
  const { stdout } = await runCli(['inspect', model]);
  assert.match(
    stdout,
    /Image tower in .*mmproj-model\.gguf\n {2}28 x 28 pixels in patches of 7, 4 tokens of 32\n/,
  );
});

test('bench --image measures the tower', async () => {
  const { stdout, code } = await runCli([
    ...['bench', '-p', '8', '-n', '2', '--repetitions', '1', '--image', PHOTO],
    ...common(),
  ]);
  assert.equal(code, 0);
  const { image_ms, image_load_ms } = JSON.parse(stdout) as { image_ms: number; image_load_ms: number };
  assert.ok(image_ms > 0 && image_load_ms > 0);
});

test('what cannot be seen is one line of reason', async () => {
  const broken = path.join(folder, 'broken.png');
  writeFileSync(broken, readFileSync(path.join(IMAGES, 'rgb.png')).subarray(0, 90));
  const reasons: readonly (readonly [string[], RegExp])[] = [
    [['encode', broken, ...common()], /^gemma-sidecar: “broken\.png” cannot be decoded.*\.\n$/],
    [['encode', path.join(folder, 'none.png'), ...common()], /none\.png does not exist\.\n$/],
    [['encode', PHOTO, '--model', blind], /no image tower.*--mmproj/],
    [['ask', 'What?', '--no-repo', '--image', PHOTO, '--model', blind], /no image tower/],
    [['encode', PHOTO, '--model', blind, '--mmproj', model], /cannot be used.*holds no image tower/],
  ];
  for (const [args, reason] of reasons) {
    const { code, stderr, stdout } = await runCli(args);
    assert.equal(code, 1);
    assert.match(stderr.split('\n').slice(-2).join('\n'), reason);
    assert.equal(stdout, '');
  }
  const { code } = await runCli(['encode', PHOTO, '--model', blind, '--mmproj', TOWER_FILE, '--json']);
  assert.equal(code, 0);
});
