/** The eight import rules of ARCHITECTURE.md, checked on the real import graph; biome.json has the same as lint zones. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { findCycle, importSpecifiers, ROOT, readGraph, type SourceFile } from './import-graph.ts';

const SHIPPED = ['extension', 'sidecar', 'webview'];
const files = readGraph([...SHIPPED, 'test', 'bench']);
const shipped = [...files.values()].filter((f) => SHIPPED.some((s) => f.path.startsWith(`${s}/`)));

const within = (file: string, ...folders: string[]) => folders.some((f) => file === f || file.startsWith(f));

/** Edges (file -> import) for which `bad` holds, as readable lines. */
function edges(bad: (file: SourceFile, target: string) => boolean, kind: 'imports' | 'packages'): string[] {
  return shipped.flatMap((f) => f[kind].filter((t) => bad(f, t)).map((t) => `${f.path} imports ${t}`));
}

test('the walker sees every form of import', () => {
  const text = [
    `import a from './a.ts';`,
    `import type { B } from "./b.ts";`,
    `import './c.css';`,
    `export { d } from './d.ts';`,
    `const e = await import('./e.ts');`,
    `import {\n  f,\n  g,\n} from './f.ts';`,
    `// import x from './comment.ts';`,
    `const h = require('node:http');`,
  ].join('\n');
  assert.deepEqual(importSpecifiers(text), [
    './a.ts',
    './b.ts',
    './c.css',
    './d.ts',
    './e.ts',
    './f.ts',
    'node:http',
  ]);
  assert.ok(files.size > 40, `only ${files.size} files found: the walker is looking in the wrong place`);
});

test('1: vscode only in extension/, the LSP server library only in sidecar/server/ and sidecar/main.ts', () => {
  assert.deepEqual(
    edges((f, t) => t === 'vscode' && !within(f.path, 'extension/'), 'packages'),
    [],
  );
  assert.deepEqual(
    edges(
      (f, t) => /^vscode-languageserver\b/.test(t) && !within(f.path, 'sidecar/server/', 'sidecar/main.ts'),
      'packages',
    ),
    [],
  );
});

/** The chat's messages and its pure reducer, which host and page both run. */
const SHARED_WITH_PAGE = [
  'webview/context-messages.ts',
  'webview/messages.ts',
  'webview/picture.ts',
  'webview/state.ts',
];

test('2: protocol imports nothing of ours; extension and webview reach the sidecar only through it', () => {
  assert.deepEqual(
    edges((f, t) => within(f.path, 'sidecar/protocol/') && !within(t, 'sidecar/protocol/'), 'imports'),
    [],
  );
  assert.deepEqual(
    edges(
      (f, t) =>
        (within(f.path, 'extension/') &&
          !within(t, 'extension/', 'sidecar/protocol/', ...SHARED_WITH_PAGE)) ||
        (within(f.path, 'webview/') && !within(t, 'webview/', 'sidecar/protocol/')),
      'imports',
    ),
    [],
  );
});

/** Folders each sidecar layer may reach besides itself: arrows only downwards. */
const SIDECAR_LAYERS: Readonly<Record<string, readonly string[]>> = {
  'sidecar/cli/': [
    'server',
    'session',
    'context',
    'chat',
    'prompt',
    'models',
    'images',
    'engine',
    'protocol',
  ],
  'sidecar/server/': ['session', 'context', 'chat', 'prompt', 'models', 'images', 'engine', 'protocol'],
  'sidecar/session/': ['context', 'chat', 'prompt', 'engine'],
  'sidecar/context/': ['prompt', 'engine'],
  'sidecar/chat/': ['prompt', 'engine'],
  'sidecar/prompt/': ['engine'],
  'sidecar/models/': ['engine'],
  'sidecar/images/': ['engine', 'protocol'],
  'sidecar/engine/': [],
};

test('3 and 4: sidecar layers import downwards only; wire types stop in server/; the engine imports only itself', () => {
  for (const [layer, below] of Object.entries(SIDECAR_LAYERS)) {
    const allowed = [layer, ...below.map((b) => `sidecar/${b}/`)];
    assert.deepEqual(
      edges((f, t) => within(f.path, layer) && !within(t, ...allowed), 'imports'),
      [],
      `${layer} may import only ${allowed.join(', ')}`,
    );
  }
});

/** Engine parts from top to bottom; a part may import parts of a strictly higher number, or itself. */
const ENGINE_ORDER: readonly (readonly [RegExp, number])[] = [
  [/^sidecar\/engine\/[^/]*engine\.ts$/, 0],
  [/^sidecar\/engine\/([^/]+\.ts$|speculation\/)/, 1],
  [/^sidecar\/engine\/(model|vision)\//, 2],
  [/^sidecar\/engine\/tokenizer\//, 2],
  [/^sidecar\/engine\/(kv|sampler)\//, 3],
  [/^sidecar\/engine\/backend\/select\.ts$/, 4],
  [/^sidecar\/engine\/backend\/(cpu|gpu)\//, 5],
  [/^sidecar\/engine\/backend\/backend\.ts$/, 6],
  [/^sidecar\/engine\/backend\/tensor\.ts$/, 7],
];
const engineRank = (file: string) => ENGINE_ORDER.find(([pattern]) => pattern.test(file))?.[1];

test('5: inside the engine arrows go down to backend.ts; only select.ts names cpu and gpu, which never meet', () => {
  const wrong = edges((f, t) => {
    const from = engineRank(f.path);
    const to = engineRank(t);
    if (from === undefined || to === undefined) return within(f.path, 'sidecar/engine/');
    if (/\/backend\/(cpu|gpu)\//.test(t)) {
      const own = f.path.includes('/backend/cpu/') ? 'cpu' : f.path.includes('/backend/gpu/') ? 'gpu' : null;
      return own ? !t.includes(`/backend/${own}/`) : !f.path.endsWith('/backend/select.ts');
    }
    return to < from;
  }, 'imports');
  assert.deepEqual(wrong, []);
});

test('6: Node headers only in the addon edge, shaders only in .wgsl files', () => {
  const kernels = path.join(ROOT, 'sidecar/engine/backend/cpu');
  const native = readdirSync(kernels, { recursive: true, encoding: 'utf8' }).filter((f) =>
    /\.(cc|h)$/.test(f),
  );
  assert.ok(native.length > 5, 'no native sources found');
  const withNode = native.filter((f) =>
    /#include\s*[<"](napi|node_api|js_native_api|node)\.h/.test(readFileSync(path.join(kernels, f), 'utf8')),
  );
  assert.deepEqual(
    withNode.filter((f) => !/(^|\/)addon[^/]*\.(cc|h)$/.test(f)),
    [],
  );
  assert.deepEqual(
    shipped.filter((f) => /@compute|@workgroup_size/.test(f.text)).map((f) => f.path),
    [],
  );
});

const NETWORK_MODULES =
  /^(node:)?(http|https|http2|net|tls|dgram|dns)(\/promises)?$|^(undici|ws|axios|node-fetch|got)$/;
const NETWORK_GLOBALS = /\b(fetch\s*\(|new\s+(WebSocket|EventSource|XMLHttpRequest)\b|sendBeacon\s*\()/;

test('7: network calls only in chat/openai* and models/download.ts', () => {
  const allowed = (f: SourceFile) => /^sidecar\/(chat\/openai[^/]*|models\/download\.ts$)/.test(f.path);
  assert.deepEqual(
    edges((f, t) => NETWORK_MODULES.test(t) && !allowed(f), 'packages'),
    [],
  );
  const code = (f: SourceFile) => f.text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  assert.deepEqual(
    shipped.filter((f) => NETWORK_GLOBALS.test(code(f)) && !allowed(f)).map((f) => f.path),
    [],
  );
});

test('8: no cycles, no re-export barrels, nothing shipped imports test/, bench/ or training/', () => {
  assert.equal(findCycle(files)?.join(' -> ') ?? null, null);
  const isBarrel = (f: SourceFile) => {
    const code = f.text
      .replace(/\/\*[\s\S]*?\*\//g, '')
      .replace(/^\s*\/\/.*$/gm, '')
      .trim();
    return code !== '' && code.replace(/export\s+(type\s+)?(\*|\{[^}]*\})[^;]*from[^;]*;/g, '').trim() === '';
  };
  assert.deepEqual(
    shipped.filter(isBarrel).map((f) => f.path),
    [],
  );
  assert.deepEqual(
    edges((_, t) => within(t, 'test/', 'bench/', 'training/', 'scripts/'), 'imports'),
    [],
  );
});

/** A file that breaks each rule where the linter must say so. */
const VIOLATIONS: readonly (readonly [rule: string, file: string, source: string])[] = [
  ['1', 'sidecar/session/probe.ts', `import 'vscode';`],
  ['1', 'sidecar/chat/probe.ts', `import 'vscode-languageserver';`],
  ['2', 'sidecar/protocol/probe.ts', `import '../engine/engine.ts';`],
  ['2', 'extension/probe.ts', `import '../sidecar/engine/engine.ts';`],
  ['2', 'webview/probe.ts', `import '../sidecar/session/chat-session.ts';`],
  ['3', 'sidecar/prompt/probe.ts', `import '../context/pack.ts';`],
  ['3', 'sidecar/context/probe.ts', `import '../session/chat-session.ts';`],
  ['3', 'sidecar/session/probe.ts', `import '../protocol/methods.ts';`],
  ['4', 'sidecar/engine/probe.ts', `import '../prompt/chat-prompt.ts';`],
  ['5', 'sidecar/engine/model/probe.ts', `import '../backend/cpu/cpu-backend.ts';`],
  ['5', 'sidecar/engine/kv/probe.ts', `import '../model/gemma3.ts';`],
  ['5', 'sidecar/engine/backend/gpu/probe.ts', `import '../cpu/native.ts';`],
  ['7', 'sidecar/server/probe.ts', `import 'node:http';`],
  ['7', 'extension/probe.ts', `import 'node:https';`],
  ['8', 'sidecar/session/probe.ts', `import '../../test/support/oracle-backend.ts';`],
];

test('the lint zones refuse the same imports', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lint-zones-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const config = JSON.parse(readFileSync(path.join(ROOT, 'biome.json'), 'utf8')) as Record<string, unknown>;
  writeFileSync(path.join(folder, 'biome.json'), JSON.stringify({ ...config, vcs: { enabled: false } }));
  const probes = VIOLATIONS.map(([rule, file, source], i) => {
    const probe = file.replace('probe', `probe${i}`);
    mkdirSync(path.join(folder, path.dirname(probe)), { recursive: true });
    writeFileSync(path.join(folder, probe), `${source}\n`);
    return { rule, probe, source };
  });
  const lint = spawnSync(path.join(ROOT, 'node_modules/.bin/biome'), ['lint', '--max-diagnostics=200', '.'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const refused = [...`${lint.stdout}${lint.stderr}`.matchAll(/^(\S+\.ts):\d+:\d+ .*noRestrictedImports/gm)];
  const refusedFiles = new Set(refused.map((m) => m[1]));
  for (const { rule, probe, source } of probes) {
    await t.test(`rule ${rule}: ${probe} with ${source}`, () => {
      assert.ok(refusedFiles.has(probe), `biome accepted it:\n${lint.stdout}${lint.stderr}`);
    });
  }
});
