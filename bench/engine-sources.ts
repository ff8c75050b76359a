import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The engine's own sources in one text, each after its name: long real text that is there in every clone. */
export function engineSources(): string {
  const root = path.resolve(import.meta.dirname, '../sidecar/engine');
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => `// ${name}\n${readFileSync(path.join(root, name), 'utf8')}`)
    .join('\n');
}
