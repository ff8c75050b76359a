/**
 * The licences of other people's code that a package ships: which packages went into the bundles, as the bundler lists them,
 * and which lie beside them as files of their own.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Licences that may be shipped with a product under MIT. MPL-2.0 asks for its files' source: they are unchanged, the address is named. */
const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC-BY-4.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MPL-2.0',
  'Unlicense',
  'Zlib',
]);

const LICENCE_FILE = /^(licen[cs]e|copying|notice)/i;

/**
 * Folders of the packages that these source files belong to, sorted, each once.
 *
 * @param files paths with `/`, such as the inputs of an esbuild metafile
 * @returns such as `node_modules/lit`
 */
export function packagesOf(files: Iterable<string>): string[] {
  const folders = new Set<string>();
  for (const file of files) {
    const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file);
    if (found?.[1] !== undefined) folders.add(found[1]);
  }
  return [...folders].sort();
}

/**
 * The notices of these packages as one text.
 *
 * @param root the folder that holds node_modules
 * @param packages folders below root
 * @throws Error for a package whose licence is not among those that may be shipped
 */
export function notices(root: string, packages: readonly string[]): string {
  const sections = packages.map((folder) => {
    const manifest: Manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const { name, version, repository, homepage = '' } = manifest;
    const texts = licenceTexts(join(root, folder));
    // A few packages name their licence in its text alone.
    const licence =
      manifest.license ?? (texts.some((text) => text.includes('The MIT License')) ? 'MIT' : 'none');
    if (!alternatives(licence).some((one) => ALLOWED.has(one)))
      throw new Error(`${name} ${version} has the licence ${licence}, which is not known to be fit to ship.`);
    const source = typeof repository === 'string' ? repository : (repository?.url ?? homepage);
    return [`${name} ${version} (${licence})`, source, ...texts].filter((part) => part !== '').join('\n\n');
  });
  const first = 'This package contains code of the following packages, unchanged, under their own licences.';
  return `${[first, ...sections].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly license?: string;
  readonly repository?: string | { readonly url: string };
  readonly homepage?: string;
}

/** What stands on either side of OR is for us to choose; AND is all of it. */
function alternatives(expression: string): string[] {
  return expression.replaceAll(/[()]/g, '').split(/\s+OR\s+/);
}

function licenceTexts(folder: string): string[] {
  const texts = readdirSync(folder)
    .filter((name) => LICENCE_FILE.test(name))
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8').trim());
  // Where a package gathers other people's work, it says whose.
  const manifest = join(folder, 'cgmanifest.json');
  if (!existsSync(manifest)) return texts;
  const { registrations }: { registrations: Registration[] } = JSON.parse(readFileSync(manifest, 'utf8'));
  return [...texts, ...registrations.map(registration)];
}

interface Registration {
  readonly component: { readonly git: { readonly name: string; readonly repositoryUrl: string } };
  readonly version: string;
  readonly license: string;
}

function registration({ component: { git }, version, license }: Registration): string {
  return `${git.name} ${version} (${license})\n${git.repositoryUrl}`;
}
