/** `complete`: what ghost text would show at a place in a file. */
import { readFileSync } from 'node:fs';
import { complete } from '../session/completion-session.ts';
import { type Command, UsageError } from './command.ts';
import { integerOption, requiredText } from './options.ts';

export const command: Command = {
  name: 'complete',
  summary: 'What ghost text would show at a place; lines and columns count from 1, as editors show them',
  usage: '--file F --line L --column C',
  options: { file: { type: 'string' }, line: { type: 'string' }, column: { type: 'string' } },
  async run({ values, signal, loadEngine, print, result }) {
    const file = requiredText(values, 'file');
    requiredText(values, 'line');
    requiredText(values, 'column');
    const line = integerOption(values, 'line', { least: 1 }) ?? 1;
    const column = integerOption(values, 'column', { least: 1 }) ?? 1;
    const { prefix, suffix } = splitAt(readFileSync(file, 'utf8'), line, column);
    const engine = await loadEngine({ store: null });
    try {
      const start = performance.now();
      const text = await complete(engine, { prefix, suffix }, signal);
      print(`${text}\n`);
      result({ text, ms: performance.now() - start });
    } finally {
      await engine.dispose();
    }
  },
};

/** Columns count UTF-16 units, as editors do; one past the last character is the end of the line. */
function splitAt(text: string, line: number, column: number): { prefix: string; suffix: string } {
  const lines = text.split('\n');
  const current = lines[line - 1];
  if (current === undefined)
    throw new UsageError(`--line ${line} is past the end: the file has ${lines.length}`);
  const length = current.replace(/\r$/, '').length;
  if (column > length + 1) {
    throw new UsageError(`--column ${column} is past the end: line ${line} has ${length} characters`);
  }
  const offset = lines.slice(0, line - 1).reduce((sum, l) => sum + l.length + 1, 0) + column - 1;
  return { prefix: text.slice(0, offset), suffix: text.slice(offset) };
}
