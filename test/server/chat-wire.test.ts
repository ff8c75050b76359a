import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatResultToWire } from '../../sidecar/server/chat-wire.ts';

const ANSWER = {
  text: '',
  stopReason: 'end',
  promptTokens: 1,
  cachedTokens: 0,
  restoredTokens: 0,
  generatedTokens: 0,
  keptTokens: 0,
  prefillMs: 0,
  decodeMs: 0,
  tokenUse: { contextLength: 1, repository: 0, conversation: 0, reserved: 0 },
  files: [],
  citations: [],
  notes: [],
} as const;

test('of very many files left out an answer lists some, and counts the others', () => {
  const files = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      path: `f${i}`,
      reason: i % 2 === 0 ? ('budget' as const) : ('binary' as const),
    }));
  const few = chatResultToWire('r', { ...ANSWER, leftOut: files(500) });
  assert.equal(few.leftOut.length, 500);
  assert.equal(few.leftOutMore, undefined);
  const many = chatResultToWire('r', { ...ANSWER, leftOut: files(100_000) });
  assert.equal(many.leftOut.length, 500);
  assert.deepEqual(many.leftOutMore, { files: 99_500, forRoom: 49_750 });
});
