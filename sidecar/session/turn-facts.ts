/**
 * What was looked up for each question of a conversation: the files it mentions, the facts of the symbol index. An earlier
 * question keeps what it was asked with, also after files have changed: its part of the prompt, and with it the KV cache, stays.
 */
import { createHash } from 'node:crypto';
import type { PromptTurn } from '../prompt/chat-prompt.ts';
import type { PromptFile } from '../prompt/file-block.ts';
import type { IndexFact } from '../prompt/index-block.ts';

export interface LookedUp {
  readonly index: readonly IndexFact[];
  /** Files and the like that the question mentions. */
  readonly mentioned: readonly PromptFile[];
}

const REMEMBERED = 512;

export class TurnFacts {
  private readonly known = new Map<string, LookedUp>();

  /** `look` is asked for questions not seen before, in this conversation up to there, and for the last one. */
  async add(
    turns: readonly PromptTurn[],
    look: (question: string) => Promise<LookedUp>,
  ): Promise<PromptTurn[]> {
    const hash = createHash('sha1');
    const result: PromptTurn[] = [];
    for (const [i, turn] of turns.entries()) {
      hash.update(
        JSON.stringify([turn.role, turn.text, turn.attachments?.map(({ path, text }) => [path, text])]),
      );
      if (turn.role === 'model') {
        result.push(turn);
        continue;
      }
      const key = hash.copy().digest('base64');
      const found = (i < turns.length - 1 ? this.known.get(key) : undefined) ?? (await look(turn.text));
      this.known.delete(key);
      this.known.set(key, found);
      if (this.known.size > REMEMBERED) this.known.delete(this.known.keys().next().value!);
      const { index, mentioned } = found;
      result.push({
        ...turn,
        ...(mentioned.length > 0 && { attachments: [...mentioned, ...(turn.attachments ?? [])] }),
        ...(index.length > 0 && { index }),
      });
    }
    return result;
  }
}
