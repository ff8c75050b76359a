import { cpSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Root of this repository, without a trailing slash. */
export const repository = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

/** What is tested: GEMMA_SIDECAR_EXTENSION names a `.vsix`; without it, this repository as a development extension. */
export const extensionSource = process.env['GEMMA_SIDECAR_EXTENSION'] ?? repository;

/** `development` or `packaged`, for the names of screenshots. */
export const extensionKind = extensionSource.endsWith('.vsix') ? 'packaged' : 'development';

export interface FixtureWorkspace {
  readonly folder: string;
  /** A throw-away folder around the workspace, for files that are no part of it. */
  readonly parent: string;
  remove(): void;
}

/** A copy of the small fixture workspace, which a test may change. */
export function fixtureWorkspace(): FixtureWorkspace {
  const parent = mkdtempSync(join(realpathSync(tmpdir()), 'gemma-sidecar-workspace-'));
  const folder = join(parent, 'shop');
  cpSync(join(repository, 'test', 'fixtures', 'host-workspace'), folder, { recursive: true });
  return { folder, parent, remove: () => rmSync(parent, { recursive: true, force: true }) };
}

/** A sidecar whose engine always says `answer`, for the environment variable GEMMA_SIDECAR_DEV; the rest of it is real. */
export function scriptedSidecar(workspace: FixtureWorkspace, answer: string): string {
  const path = join(workspace.parent, 'sidecar.mjs');
  const scripted = pathToFileURL(join(repository, 'test/support/scripted-sidecar.ts')).href;
  const lines = [
    `process.env.SCRIPTED_ANSWER = ${JSON.stringify(answer)};`,
    `await import(${JSON.stringify(scripted)});`,
  ];
  writeFileSync(path, lines.join('\n'));
  return path;
}

/** The folder that the editor unpacked the VSIX to. Throws where it did not. */
export function installedExtension(dataDirectory: string): string {
  const folder = join(dataDirectory, 'extensions');
  const name = readdirSync(folder).find((entry) => entry.startsWith('gemma-sidecar.'));
  if (name === undefined) throw new Error(`The editor installed no extension of ours in ${folder}.`);
  return join(folder, name);
}
