/**
 * Every bundle, one entry a runtime: extension host (CommonJS, which the editor requires), sidecar and its workers
 * (Node), chat page (browser), and the suite that runs inside the editor.
 *
 *   node esbuild.mjs [--watch] [--production]
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { notices, packagesOf } from './scripts/notices.ts';

const root = fileURLToPath(new URL('.', import.meta.url));
const watch = process.argv.includes('--watch');
const production = process.argv.includes('--production');

/** @type {esbuild.BuildOptions} */
const common = {
  absWorkingDir: root,
  bundle: true,
  sourcemap: production ? false : 'linked',
  minify: production,
  legalComments: production ? 'none' : 'inline',
  logLevel: 'warning',
};

/** Bundled CommonJS packages call `require`, which an ES module does not have. */
const requireShim =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/** @type {esbuild.BuildOptions} */
const sidecar = {
  ...common,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  banner: { js: requireShim },
};

/** @type {esbuild.BuildOptions} */
const page = {
  ...common,
  platform: 'browser',
  format: 'esm',
  // The browser of the oldest editor we support: Electron 37, Chromium 138.
  target: 'chrome138',
  tsconfig: 'webview/tsconfig.json',
  // Style sheets used inside shadow roots travel in the script; the page's own is a bundle of its own.
  loader: { '.css': 'text' },
};

/** Other people's megabytes: nobody steps through them. @type {esbuild.BuildOptions} */
const diagrams = { ...page, minify: true, sourcemap: false, legalComments: 'none' };

/** @type {Record<string, esbuild.BuildOptions>} */
const bundles = {
  'extension/main.ts': {
    ...common,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    external: ['vscode'],
    outfile: 'dist/extension.cjs',
  },
  'sidecar/main.ts': { ...sidecar, outfile: 'dist/sidecar.js' },
  ...Object.fromEntries(
    workers().map((entry) => [entry, { ...sidecar, outfile: `dist/${parse(entry).name}.js` }]),
  ),
  'webview/main.ts': { ...page, outfile: 'dist/webview/main.js' },
  'webview/context-main.ts': { ...page, outfile: 'dist/webview/context.js' },
  'webview/mermaid.ts': {
    ...diagrams,
    outfile: 'dist/webview/mermaid.js',
    // Its own licence is not ours, and the layouts of diagrams that we draw do not need it.
    alias: { elkjs: './webview/no-elk.ts', 'elkjs/lib/elk.bundled.js': './webview/no-elk.ts' },
  },
  'webview/plantuml.ts': { ...diagrams, outfile: 'dist/webview/plantuml.js' },
  'webview/drawio.ts': { ...page, outfile: 'dist/webview/drawio.js' },
  'webview/page.css': { ...common, outfile: 'dist/webview/page.css' },
  'test/host/suite/index.ts': {
    ...common,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    external: ['vscode', 'mocha'],
    outfile: 'dist/test/host.cjs',
  },
};

/** Files named `*-worker.ts` of the sidecar run on threads of their own and are loaded by name. */
function workers() {
  return readdirSync(join(root, 'sidecar'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('-worker.ts'))
    .map((path) => `sidecar/${path.replaceAll('\\', '/')}`);
}

/** Files of packages that are shipped beside the bundles, as paths below the root. */
const copied = [];

/** @param {string} from below node_modules */
function ship(from, target) {
  copyFileSync(join(root, 'node_modules', from), join(root, 'dist', target));
  copied.push(`node_modules/${from}`);
}

function copyIcons() {
  mkdirSync(join(root, 'dist/webview'), { recursive: true });
  for (const name of ['codicon.css', 'codicon.ttf']) ship(`@vscode/codicons/dist/${name}`, `webview/${name}`);
}

/** Parser and grammars of the symbol index; the list of languages says which. */
function copyGrammars() {
  mkdirSync(join(root, 'dist/grammars'), { recursive: true });
  const source = readFileSync(join(root, 'sidecar/context/symbols/languages.ts'), 'utf8');
  const grammars = [...source.matchAll(/grammar: '([a-z-]+)'/g)].map(
    ([, name]) => `tree-sitter-${name}.wasm`,
  );
  for (const name of new Set(grammars)) ship(`@vscode/tree-sitter-wasm/wasm/${name}`, `grammars/${name}`);
  ship('web-tree-sitter/web-tree-sitter.wasm', 'grammars/web-tree-sitter.wasm');
}

/** Decoders of image files that no browser decodes for us. */
function copyCodecs() {
  mkdirSync(join(root, 'dist/codecs'), { recursive: true });
  const source = readFileSync(join(root, 'sidecar/images/codec-files.ts'), 'utf8');
  for (const [, name, file] of source.matchAll(/(\w+): '(@[^']+\.wasm)'/g)) ship(file, `codecs/${name}.wasm`);
}

copyIcons();
copyGrammars();
copyCodecs();
const present = Object.entries(bundles).filter(([entry]) => existsSync(join(root, entry)));
const built = await Promise.allSettled(
  present.map(async ([entry, options]) => {
    const build = { ...options, entryPoints: [entry] };
    if (watch) await (await esbuild.context(build)).watch();
    else return esbuild.build({ ...build, metafile: true });
  }),
);
// esbuild has said what is wrong with each.
if (built.some(({ status }) => status === 'rejected')) process.exitCode = 1;
else if (production) {
  const bundled = built.flatMap(({ value }) => Object.keys(value.metafile.inputs));
  writeFileSync(join(root, 'dist/third-party.txt'), notices(root, packagesOf([...bundled, ...copied])));
}
