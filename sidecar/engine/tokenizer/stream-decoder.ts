/** Ids to text as they come, one whole character at a time. */
import type { StreamDecoder } from './tokenizer.ts';

/** `bytesOf` gives the bytes that an id stands for. */
export function streamDecoder(bytesOf: (id: number) => Uint8Array): StreamDecoder {
  // A byte order mark is text like any other here.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push: (id) => decoder.decode(bytesOf(id), { stream: true }),
    end: () => decoder.decode(),
  };
}
