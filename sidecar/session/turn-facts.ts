/**
 * What was looked up for each question of a conversation: the files it mentions, the facts of the symbol index, what it told of
 * changes. An earlier question keeps what it was asked with, also after files have changed: its part of the prompt, and with it
 * the KV cache, stays.
 */
import { createHash } from 'node:crypto';
import type { JournalEntry } from '../context/journal.ts';
import type { Head } from '../context/packed.ts';
import type { PromptTurn } from '../prompt/chat-prompt.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { IndexFact } from '../prompt/index-block.ts';

export interface LookedUp {
  readonly index: readonly IndexFact[];
  /** Files and the like that the question mentions. */
  readonly mentioned: readonly PromptFile[];
}

/** A turn with what was looked up for it. */
export interface TurnWithFacts {
  readonly turn: PromptTurn;
  /** What an earlier question told of changes, where it still stands after the head that it was told after. */
  readonly told: readonly JournalEntry[];
}

/** Names a layout of the head: the same as long as the head is. */
export type HeadFiles = Head['files'];

interface Remembered extends LookedUp {
  readonly told?: { readonly after: HeadFiles; readonly entries: readonly JournalEntry[] };
}

const REMEMBERED = 512;

export class TurnFacts {
  private readonly known = new Map<string, Remembered>();

  /** `look` is asked for questions not seen before, in this conversation up to there, and for the last one. */
  async add(
    turns: readonly PromptTurn[],
    head: HeadFiles | null,
    look: (question: string) => Promise<LookedUp>,
  ): Promise<TurnWithFacts[]> {
    const keys = keysOf(turns);
    const result: TurnWithFacts[] = [];
    for (const [i, turn] of turns.entries()) {
      if (turn.role === 'model') {
        result.push({ turn, told: [] });
        continue;
      }
      const isLast = i === turns.length - 1;
      const found: Remembered = (isLast ? undefined : this.known.get(keys[i]!)) ?? (await look(turn.text));
      this.remember(keys[i]!, found);
      const { index, mentioned, told } = found;
      result.push({
        turn: {
          ...turn,
          ...(mentioned.length > 0 && { attachments: [...mentioned, ...(turn.attachments ?? [])] }),
          ...(index.length > 0 && { index }),
        },
        told: told !== undefined && told.after === head ? told.entries : [],
      });
    }
    return result;
  }

  /** The last of `turns` tells `entries`, after the head `after`. */
  tell(turns: readonly PromptTurn[], after: HeadFiles, entries: readonly JournalEntry[]): void {
    const key = keysOf(turns).at(-1)!;
    const found = this.known.get(key);
    if (found) this.remember(key, { ...found, told: { after, entries } });
  }

  private remember(key: string, found: Remembered): void {
    this.known.delete(key);
    this.known.set(key, found);
    if (this.known.size > REMEMBERED) this.known.delete(this.known.keys().next().value!);
  }
}

/** Each turn by the conversation up to it. */
function keysOf(turns: readonly PromptTurn[]): string[] {
  const hash = createHash('sha1');
  return turns.map(({ role, text, attachments, images }) => {
    const files = attachments?.map(({ path, text }) => [path, text]);
    hash.update(JSON.stringify([role, text, files, images?.map(({ whole }) => whole.key)]));
    return hash.copy().digest('base64');
  });
}
