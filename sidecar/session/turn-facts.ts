/**
 * What the symbol index said to each question of a conversation. An earlier question keeps the facts it was asked with, also
 * after the files have changed: its part of the prompt, and with it the KV cache, stays the same.
 */
import { createHash } from 'node:crypto';
import type { PromptTurn } from '../prompt/chat-prompt.ts';
import type { IndexFact } from '../prompt/index-block.ts';

const REMEMBERED = 512;

export class TurnFacts {
  private readonly known = new Map<string, readonly IndexFact[]>();

  /** `look` is asked for questions not seen before, in this conversation up to there, and for the last one. */
  async add(
    turns: readonly PromptTurn[],
    look: (question: string) => Promise<readonly IndexFact[]>,
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
      const index = (i < turns.length - 1 ? this.known.get(key) : undefined) ?? (await look(turn.text));
      this.known.delete(key);
      this.known.set(key, index);
      if (this.known.size > REMEMBERED) this.known.delete(this.known.keys().next().value!);
      result.push(index.length > 0 ? { ...turn, index } : turn);
    }
    return result;
  }
}
