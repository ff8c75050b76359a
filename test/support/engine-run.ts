/** A real engine for the time of a test, and one request of it from first event to last. */
import type { GenerateEvent, GenerateOptions } from '../../sidecar/engine/engine.ts';
import type { GemmaEngine } from '../../sidecar/engine/gemma-engine.ts';
import { type GemmaEngineOptions, loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';

export type EndEvent = Extract<GenerateEvent, { kind: 'end' }>;

export interface Run {
  readonly events: readonly GenerateEvent[];
  readonly ids: readonly number[];
  readonly end: EndEvent;
}

/** Greedy unless the options say otherwise. Throws when the stream does not finish with its end. */
export async function run(
  engine: GemmaEngine,
  prompt: readonly number[],
  options: GenerateOptions,
  onEvent: (event: GenerateEvent) => void = () => {},
): Promise<Run> {
  const events: GenerateEvent[] = [];
  for await (const event of engine.generate(prompt, { sampling: { temperature: 0 }, ...options })) {
    events.push(event);
    onEvent(event);
  }
  const end = events.at(-1);
  if (end?.kind !== 'end') throw new Error('The stream had no end.');
  return { events, ids: events.flatMap((event) => (event.kind === 'token' ? [event.id] : [])), end };
}

/** Loads, uses and disposes. */
export async function withEngine<T>(
  options: GemmaEngineOptions,
  use: (engine: GemmaEngine) => Promise<T>,
): Promise<T> {
  const engine = await loadGemmaEngine(options);
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}
