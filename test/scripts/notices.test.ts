/** What a package says about other people's code in it. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { notices, packagesOf } from '../../scripts/notices.ts';
import { temporaryFolder } from '../support/repository.ts';

test('packages are found from their files, nested ones apart, our own files not at all', () => {
  assert.deepEqual(
    packagesOf([
      'sidecar/main.ts',
      'node_modules/lit/index.js',
      'node_modules/lit/html.js',
      'node_modules/@vscode/codicons/dist/codicon.css',
      'node_modules/mermaid/node_modules/marked/lib/marked.esm.js',
    ]),
    ['node_modules/@vscode/codicons', 'node_modules/lit', 'node_modules/mermaid/node_modules/marked'],
  );
});

test('a notice holds name, version, licence, source and the text of the licence', () => {
  const root = packageFolder({
    name: 'kind',
    version: '1.2.3',
    license: 'MIT',
    homepage: 'https://kind.example',
  });
  writeFileSync(path.join(root, 'node_modules/kind/LICENSE.md'), 'Do as you like.\n');
  const text = notices(root, ['node_modules/kind']);
  for (const part of ['kind 1.2.3 (MIT)', 'https://kind.example', 'Do as you like.'])
    assert.ok(text.includes(part), part);
});

test('a choice of licences is fit where one of them is; another licence, or none, stops the package', () => {
  const either = packageFolder({ name: 'kind', version: '1.0.0', license: '(GPL-3.0 OR MIT)' });
  assert.match(notices(either, ['node_modules/kind']), /kind 1\.0\.0/);
  for (const license of ['GPL-3.0-only', '(MIT AND GPL-3.0)', undefined]) {
    const root = packageFolder({ name: 'kind', version: '1.0.0', license });
    assert.throws(
      () => notices(root, ['node_modules/kind']),
      /^Error: kind 1\.0\.0 has the licence .* not known to be fit/,
    );
  }
});

function packageFolder(manifest: object): string {
  const root = temporaryFolder();
  mkdirSync(path.join(root, 'node_modules/kind'), { recursive: true });
  writeFileSync(path.join(root, 'node_modules/kind/package.json'), JSON.stringify(manifest));
  return root;
}
