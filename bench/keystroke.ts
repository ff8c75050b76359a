/**
 * How long after a key is its letter on the screen, while nothing happens and while the model reads this repository?
 *
 *   node bench/keystroke.ts [--keys 60] [--shape 1b] [--threads N] [--folder DIR] [--json]
 *
 * The real editor (code-server in Chromium, `node scripts/setup.mjs test` installs both) with the real extension and sidecar.
 * The chat page, which draws progress, counts as well; a third figure is without it. The model has random weights and the shape that is named, so that reading takes long. A key counts from the browser's event
 * until the frame behind the first change of the editor's text; without a graphics card Chromium draws on the processor
 * as well. Prints median, 95th percentile and most, in milliseconds.
 */
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Workbench } from '../test/host/browser.ts';
import { ChatPage } from '../test/host/chat-page.ts';
import { extensionSource, repository } from '../test/host/scenario/setting.ts';
import { startServer } from '../test/host/server.ts';
import { syntheticModel } from './synthetic-model.ts';

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '60' },
    shape: { type: 'string', default: '1b' },
    folder: { type: 'string', default: path.join(tmpdir(), 'gemma-sidecar-bench') },
    threads: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const keys = Number(values.keys);
/** As fast as people type. */
const KEY_MS = 120;

/** Runs in the page: notes the time from each key to the frame that shows its letter. */
const WATCH = `(() => {
  const editor = document.querySelector('.editor-instance .monaco-editor');
  const seen = (window.keystrokes = []);
  let pressed = null;
  document.addEventListener('keydown', (event) => { pressed ??= event.timeStamp; }, true);
  new MutationObserver(() => {
    if (pressed === null) return;
    const since = pressed;
    pressed = null;
    requestAnimationFrame(() => setTimeout(() => seen.push(performance.now() - since)));
  }).observe(editor.querySelector('.view-lines'), { childList: true, subtree: true, characterData: true });
})()`;

const modelPath = syntheticModel(values.folder, values.shape);
const server = await startServer({
  extension: extensionSource,
  machineSettings: {
    'gemmaSidecar.modelPath': modelPath,
    ...(values.threads !== undefined && { 'gemmaSidecar.threads': Number(values.threads) }),
  },
  settings: { 'editor.quickSuggestions': { other: 'off' }, 'editor.inlineSuggest.enabled': false },
});
const workbench = await Workbench.launch();
try {
  await workbench.open(server.origin, repository);
  await workbench.command('Gemma: Open Chat');
  const chat = new ChatPage(workbench);
  await chat.input.waitFor();
  await workbench.command('File: New Untitled Text File');
  await workbench.page.locator('.editor-instance .monaco-editor .view-line').first().click();
  await workbench.page.evaluate(WATCH);
  // The first letters load what the editor needs for them.
  await type(20);
  report('nothing else happens', await type(keys));
  await chat.ask('How does the scheduler decide whose turn it is?');
  await chat.progress.getByText('Reading', { exact: false }).waitFor({ timeout: 600_000 });
  await workbench.page.locator('.editor-instance .monaco-editor .view-line').first().click();
  const during = await type(keys);
  const reading = async () => ((await chat.progress.count()) > 0 ? '' : ' (it ended before the last key)');
  report(`the model reads${await reading()}`, during);
  // What is left is the model's doing, not that of a page that draws progress.
  await workbench.page.keyboard.press('Control+B');
  const hidden = await type(keys);
  await workbench.page.keyboard.press('Control+B');
  report(`the model reads and the chat is hidden${await reading()}`, hidden);
} finally {
  await workbench.close();
  await server.stop();
}

/** Types letters; returns the milliseconds of each. */
async function type(count: number): Promise<number[]> {
  await workbench.page.evaluate('window.keystrokes.length = 0');
  for (let i = 0; i < count; i++) {
    await workbench.page.keyboard.press('abcdefghij'[i % 10]!);
    await pause(KEY_MS);
  }
  await pause(1000);
  return workbench.page.evaluate<number[]>('window.keystrokes');
}

function report(while_: string, times: readonly number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!);
  const figures = { keys: times.length, median: at(0.5), p95: at(0.95), most: at(1) };
  console.log(
    values.json
      ? JSON.stringify({ while: while_, ...figures })
      : `while ${while_}: median ${figures.median} ms, 95 % within ${figures.p95} ms, most ${figures.most} ms, of ${figures.keys} keys`,
  );
}
