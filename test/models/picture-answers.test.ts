/**
 * What the built-in model says about one drawing of each kind that it was trained on, with its own image tower and our engine.
 * The answers are pinned as they are, right or wrong, so that no change of engine, prompt or file alters them unseen:
 *
 *   UPDATE_ANSWERS=1 node --test test/models/picture-answers.test.ts
 *
 * writes them anew, to be read before they are committed. `shows` is what is really drawn.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { runCli } from '../support/run-cli.ts';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/pictures');
const ANSWERS = path.join(FIXTURES, 'answers.json');
const MODELS = path.resolve(import.meta.dirname, '../../models');
const FILES = ['gemma-sidecar-builtin.gguf', 'gemma-sidecar-builtin-mmproj.gguf'] as const;

interface Pinned {
  /** SHA-256 of the files that gave the answers. */
  readonly files: Readonly<Record<string, string>>;
  readonly pictures: Readonly<Record<string, PinnedAnswer>>;
}
interface PinnedAnswer {
  readonly question: string;
  readonly shows: string;
  readonly answer: string;
}

const pinned = JSON.parse(readFileSync(ANSWERS, 'utf8')) as Pinned;
const update = process.env['UPDATE_ANSWERS'] === '1';
const files = Object.fromEntries(FILES.map((name) => [name, sha256(path.join(MODELS, name))]));
const now: Record<string, PinnedAnswer> = {};

test('the pinned answers are those of the model that is here', {
  skip: update && 'they are written anew',
}, () => {
  const command = 'UPDATE_ANSWERS=1 node --test test/models/picture-answers.test.ts';
  assert.deepEqual(
    files,
    pinned.files,
    `the model is another one: run \`${command}\`, and read what changes`,
  );
});

for (const [name, { question, shows, answer }] of Object.entries(pinned.pictures))
  test(`${name} gets the answer that is pinned`, async () => {
    const image = path.join(FIXTURES, name);
    const { code, stdout, stderr } = await runCli(['ask', question, '--no-repo', '--image', image, '--json']);
    assert.equal(code, 0, stderr);
    const said = (JSON.parse(stdout) as { readonly answer: string }).answer.trim();
    now[name] = { question, shows, answer: said };
    if (!update) assert.equal(said, answer);
  });

after(() => {
  if (update) writeFileSync(ANSWERS, `${JSON.stringify({ files, pictures: now }, null, 2)}\n`);
});

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
