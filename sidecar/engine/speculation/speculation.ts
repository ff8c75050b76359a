/** Gives every request its drafter: repetitions first, then the draft model where there is one. */
import type { DraftModel } from './draft-model.ts';
import type { Drafter } from './drafter.ts';
import { SuffixDrafter } from './suffix-drafter.ts';

export interface RequestDrafter extends Drafter {
  /** The request is over. */
  end(): void;
}

export class Speculation {
  readonly #draftModel: DraftModel | null;
  /** The conversation's: the next question mostly goes on from the same prompt. */
  #resting: SuffixDrafter | null = null;

  constructor(draftModel: DraftModel | null) {
    this.#draftModel = draftModel;
  }

  /** `isConversation`: what is learnt about this prompt may serve the next one. */
  begin(prompt: Uint32Array, isConversation: boolean): RequestDrafter {
    const suffix = (isConversation ? this.#resting : null) ?? new SuffixDrafter();
    if (isConversation) this.#resting = null;
    suffix.begin(prompt);
    const model = this.#draftModel?.begin() ?? null;
    let proposer: Drafter = suffix;
    return {
      propose: async (ids, most, signal) => {
        proposer = suffix;
        const repeated = suffix.propose(ids, most);
        if (repeated.length > 0 || model === null) return repeated;
        proposer = model;
        return model.propose(ids, most, signal);
      },
      settle: (accepted) => proposer.settle(accepted),
      end: () => {
        model?.end();
        if (isConversation) this.#resting = suffix;
      },
    };
  }

  dispose(): void {
    this.#draftModel?.dispose();
  }
}
