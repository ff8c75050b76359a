/** A process at work on kept heads: head-process.ts FOLDER SALT ROUNDS. Prints how often it read a head, and how often a wrong one. */
import { HeadStore, type StoredHead } from '../../sidecar/context/head-store.ts';

const [folder = '', salt = '0', rounds = '1'] = process.argv.slice(2);
const store = new HeadStore(folder);
const WORKSPACES = 40;
/** Text that tells whether it is whole and of its workspace. */
const textOf = (workspace: number, writer: string) =>
  `workspace ${workspace}\n${`written by ${writer}\n`.repeat(400)}end ${workspace}`;
let read = 0;
let wrong = 0;
for (let i = 0; i < Number(rounds); i++) {
  const workspace = (i * 7 + Number(salt) * 3) % WORKSPACES;
  const roots = [{ folder: `/workspace-${workspace}`, label: null }];
  const found = await store.load(roots, 1);
  if (found) {
    read++;
    const text = found.files[0]?.text ?? '';
    const writer = /written by (\d+)/.exec(text)?.[1] ?? '';
    if (text !== textOf(workspace, writer)) wrong++;
  }
  const head: StoredHead = {
    whole: true,
    spent: i,
    choice: { pinned: [], dropped: [] },
    files: [{ path: 'a.ts', text: textOf(workspace, salt) }],
    base: [],
  };
  await store.save(roots, 1, head);
  if (i % 50 === 49) await store.clear();
}
process.stdout.write(JSON.stringify({ read, wrong }));
