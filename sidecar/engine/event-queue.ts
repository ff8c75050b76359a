/** Events pushed by a producer, awaited by one consumer. */
export class EventQueue<T> implements AsyncIterable<T> {
  #events: T[] = [];
  #closed = false;
  #error: { readonly value: unknown } | null = null;
  #wake: () => void = () => {};

  push(event: T): void {
    this.#events.push(event);
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** The consumer gets what was pushed before, then the error. */
  fail(error: unknown): void {
    this.#error = { value: error };
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      const events = this.#events;
      this.#events = [];
      yield* events;
      if (this.#events.length > 0) continue;
      if (this.#error !== null) throw this.#error.value;
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
