import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Workbench } from '../browser.ts';
import { extensionKind, repository } from './setting.ts';

/** Writes screenshots/<development|packaged>-<name>.png, for a person to look at. */
export async function screenshot(workbench: Workbench, name: string): Promise<void> {
  const folder = join(repository, 'screenshots');
  mkdirSync(folder, { recursive: true });
  await workbench.page.screenshot({ path: join(folder, `${extensionKind}-${name}.png`) });
}
