/** What of the workspace a person pinned to the context or dropped from it; kept with the workspace. */

import type { Event, Memento } from 'vscode';
import { EventEmitter } from 'vscode';
import type { ContextChoice } from '../sidecar/protocol/context-types.ts';

const KEY = 'contextChoice';

export class ContextChoiceStore {
  readonly #memory: Memento;
  readonly #changed = new EventEmitter<void>();
  readonly onChanged: Event<void> = this.#changed.event;

  constructor(memory: Memento) {
    this.#memory = memory;
  }

  get current(): ContextChoice {
    return this.#memory.get<ContextChoice>(KEY, { pinned: [], dropped: [] });
  }

  /** `path` is a file or folder relative to the workspace; null lets the sidecar decide again. */
  async set(path: string, choice: 'pinned' | 'dropped' | null): Promise<void> {
    const others = (paths: readonly string[]) => paths.filter((other) => other !== path);
    const { pinned, dropped } = this.current;
    await this.#memory.update(KEY, {
      pinned: choice === 'pinned' ? [...others(pinned), path] : others(pinned),
      dropped: choice === 'dropped' ? [...others(dropped), path] : others(dropped),
    } satisfies ContextChoice);
    this.#changed.fire();
  }
}
