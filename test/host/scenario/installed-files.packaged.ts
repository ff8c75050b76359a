/** What the editor unpacks from the VSIX: everything that the extension needs, and nothing else. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startServer } from '../server.ts';
import { extensionSource, installedExtension } from './setting.ts';

const allowed = [
  /^package(?:\.nls)?\.json$/,
  /^(?:readme\.md|changelog\.md|LICENSE(?:\.txt)?)$/i,
  /^\.vsixmanifest$/,
  /^media\/[\w-]+\.(?:png|svg)$/,
  /^dist\/extension\.cjs$/,
  /^dist\/(?:sidecar|[\w-]+-worker)\.js$/,
  /^dist\/webview\/(?:(?:main|context|mermaid|plantuml|drawio)\.js|page\.css|codicon\.css|codicon\.ttf)$/,
  /^dist\/third-party\.txt$/,
  /^dist\/codecs\/(?:svg|webp)\.wasm$/,
  /^dist\/grammars\/(?:web-tree-sitter|tree-sitter-[\w-]+)\.wasm$/,
  /^dist\/native\/linux-(?:x64|arm64)\/engine\.node$/,
  /^models\/(?:NOTICE|[\w.-]+\.(?:gguf|md))$/,
];
const needed = [
  'package.json',
  'dist/extension.cjs',
  'dist/sidecar.js',
  'dist/webview/main.js',
  'dist/webview/context.js',
  'dist/webview/mermaid.js',
  'dist/webview/plantuml.js',
  'dist/webview/drawio.js',
  'dist/grammars/web-tree-sitter.wasm',
  'dist/decode-worker.js',
  'dist/third-party.txt',
  'dist/codecs/svg.wasm',
  'dist/codecs/webp.wasm',
  'dist/grammars/tree-sitter-typescript.wasm',
  `dist/native/linux-${process.arch}/engine.node`,
  'models/gemma-sidecar-builtin.gguf',
  'models/gemma-sidecar-builtin-mmproj.gguf',
];

test('the package holds what it needs and nothing else', async () => {
  const server = await startServer({ extension: extensionSource });
  try {
    const folder = installedExtension(server.dataDirectory);
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
      statSync(join(folder, path)).isFile(),
    );
    assert.deepEqual(
      files.filter((path) => !allowed.some((pattern) => pattern.test(path))),
      [],
      'files that do not belong in the package',
    );
    assert.deepEqual(
      needed.filter((path) => !files.includes(path)),
      [],
      'files that the package lacks',
    );
    assert.equal(files.filter((path) => path.endsWith('engine.node')).length, 1, 'one platform a package');
  } finally {
    await server.stop();
  }
});
