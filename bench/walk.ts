/**
 * How long a large workspace takes to list, to read and to ask about, and how long the main thread, which also answers the
 * editor, is busy in one stretch meanwhile. The tree is generated in a temporary folder.
 *
 *   node bench/walk.ts [--files 100000] [--bytes 1200]
 *
 * 'longest' is the most that the main thread computed between two turns of its event loop, sampled every 2 ms; like 'CPU', all
 * threads together, it is processor time, which other programs on the machine do not add to.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { PathSearch } from '../sidecar/context/mentions.ts';
import { RepositoryContext } from '../sidecar/context/pack.ts';
import type { Packed } from '../sidecar/context/packed.ts';
import { listFiles } from '../sidecar/context/repository.ts';
import { openModelFile } from '../sidecar/engine/model-file.ts';
import { builtInModelPath, missingBuiltInModel } from '../sidecar/models/find.ts';
import { contextTree } from '../sidecar/session/context-tree.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    bytes: { type: 'string', default: '1200' },
  },
});
const model = builtInModelPath();
if (model === null) throw new Error(missingBuiltInModel());
const { tokenizer } = openModelFile(model);
const folder = mkdtempSync(path.join(tmpdir(), 'gemma-sidecar-walk-'));
try {
  generate(Number(values.files), Number(values.bytes));
  const roots = [{ folder, label: null }];
  console.log(
    `${Number(values.files).toLocaleString('en-US')} files\n| | seconds | CPU, s | longest, ms |\n| --- | --- | --- | --- |`,
  );
  await measure('walk, without git', () => listFiles(roots));
  execFileSync('git', ['init', '--quiet'], { cwd: folder });
  const files = await measure('list, with git', () => listFiles(roots));
  await measure('search for a mention', async () => (await PathSearch.of(files)).find('w77f3', 'any', 20));
  const context = new RepositoryContext(roots);
  let previous: Packed | null = null;
  for (const [name, question] of [
    ['first question', 'Where is the retry of `handler4711` decided?'],
    ['second question', 'How is the queue drained?'],
    ['the same again', 'How is the queue drained?'],
  ] as const) {
    const request = { unsaved: [], onProgress: () => {} };
    previous = await measure(name, async () => {
      const snapshot = await context.read(request);
      await context.facts(question, snapshot);
      return context.pack({
        ...request,
        snapshot,
        tokenizer,
        budget: 16_384,
        ceiling: 16_384,
        question: [question],
        previous,
      });
    });
  }
  const { files: shown, leftOut } = previous!;
  const choice = { pinned: [], dropped: [] };
  await measure('context report', () => contextTree(shown, leftOut, { start: 0, cached: 0, choice }));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure<T>(name: string, work: () => Promise<T>): Promise<T> {
  let longest = 0;
  const now = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let last = now();
  const look = () => {
    const time = now();
    longest = Math.max(longest, time - last);
    last = time;
  };
  const cpu = process.cpuUsage();
  const timer = setInterval(look, 2);
  const started = performance.now();
  const result = await work();
  look();
  clearInterval(timer);
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `| ${name} | ${seconds.toFixed(2)} | ${((user + system) / 1e6).toFixed(2)} | ${longest.toFixed(0)} |`,
  );
  return result;
}

/** Folders of about twenty files, four deep; words of code, a definition every few lines. */
function generate(count: number, bytes: number): void {
  const words =
    'retry queue handler socket parse token buffer render layout cache index store event timer value'.split(
      ' ',
    );
  for (let i = 0; i < count; i++) {
    const group = Math.floor(i / 20);
    const inside = path.join(folder, `p${group % 10}`, `q${Math.floor(group / 10) % 50}`, `r${group}`);
    if (i % 20 === 0) mkdirSync(inside, { recursive: true });
    const lines: string[] = [];
    for (let size = 0, j = 0; size < bytes; j++) {
      const word = (k: number) => words[(i * 7 + j * 3 + k * k) % words.length]!;
      const line =
        j % 6 === 0
          ? `export function ${word(0)}${i}x${j}(${word(1)}: number): number {`
          : j % 6 === 5
            ? '}\n'
            : `  const ${word(2)}${j} = ${word(3)}(${word(4)}${i % 97}, ${j}); // ${word(5)} the ${word(6)}`;
      lines.push(line);
      size += line.length;
    }
    writeFileSync(path.join(inside, `w${i}${words[i % words.length]}.ts`), lines.join('\n'));
  }
}
