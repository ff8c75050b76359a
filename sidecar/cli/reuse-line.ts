/** One line on what of a prompt was reused and what was read, and why. */
import type { ReadReason } from '../chat/chat-engine.ts';

export interface PromptUse {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly restoredTokens: number;
  readonly cacheMiss?: ReadReason;
}

const REASONS: Readonly<Record<ReadReason['reason'], string>> = {
  new: 'nothing known begins like this prompt',
  changed: 'an earlier prompt went on otherwise',
  longer: 'the prompt is longer than what is known',
  forgotten: 'the rest is no longer held',
  'part-of-block': 'the disk holds whole blocks of 64 tokens',
};

export function reuseLine({ promptTokens, cachedTokens, restoredTokens, cacheMiss }: PromptUse): string {
  const count = (n: number) => n.toLocaleString('en-US');
  const from = restoredTokens > 0 ? ` (${count(restoredTokens)} from disk)` : '';
  const start = `${count(cachedTokens)} of ${count(promptTokens)} prompt tokens reused${from}, ${count(promptTokens - cachedTokens)} read`;
  if (!cacheMiss) return `${start}.`;
  const { reason, differs } = cacheMiss;
  const where = differs
    ? `; token ${count(differs.position)} was ${JSON.stringify(differs.before)}, is ${JSON.stringify(differs.now)}`
    : '';
  return `${start}: ${REASONS[reason]}${where}.`;
}
