import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatEvent } from '../../sidecar/chat/chat-engine.ts';
import { GemmaChat } from '../../sidecar/chat/gemma.ts';
import { visibleText } from '../../sidecar/chat/visible-text.ts';
import { scriptedEngine } from '../support/scripted-engine.ts';

async function collect(events: AsyncIterable<ChatEvent>): Promise<ChatEvent[]> {
  const all: ChatEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test('characters that hide or turn text are made visible; the rest stays', () => {
  assert.equal(visibleText('a\u202eb\u0000c\u200bd\u{e0041}'), 'a\\u{202e}b\\u{0}c\\u{200b}d\\u{e0041}');
  assert.equal(visibleText('grüße\t\n👩‍👩‍👧 ✔️'), 'grüße\t\n👩‍👩‍👧 ✔️');
});

test('deltas are whole characters and add up to the answer', async () => {
  const chat = new GemmaChat(scriptedEngine({ answer: () => 'né 👍\u202e' }));
  const events = await collect(
    chat.answer({ turns: [{ role: 'user', text: '?' }], files: null, maxTokens: 99 }),
  );
  const text = events.map((e) => (e.kind === 'delta' ? e.text : '')).join('');
  assert.equal(text, 'né 👍\\u{202e}');
  const end = events.at(-1)!;
  assert.ok(end.kind === 'end' && end.reason === 'end' && end.text === text);
});

test('an answer cut by the token limit says so and ends in whole characters', async () => {
  const chat = new GemmaChat(scriptedEngine({ answer: () => 'aé' }));
  const events = await collect(
    chat.answer({ turns: [{ role: 'user', text: '?' }], files: null, maxTokens: 2 }),
  );
  const end = events.at(-1)!;
  assert.ok(end.kind === 'end');
  assert.equal(end.reason, 'length');
  assert.equal(end.text, 'a\ufffd');
});

test('an answer that goes round in circles is ended, and says why', async () => {
  const chat = new GemmaChat(scriptedEngine({ answer: () => 'ta'.repeat(5000) }));
  const events = await collect(
    chat.answer({ turns: [{ role: 'user', text: '?' }], files: null, maxTokens: 9999 }),
  );
  const end = events.at(-1)!;
  assert.ok(end.kind === 'end');
  assert.equal(end.reason, 'repetition');
  assert.match(end.text, /^(ta)+t?$/);
  assert.ok(end.text.length < 400, `${end.text.length} characters were let through`);
});

test('the next turn finds the whole of the turn before in the cache', async () => {
  const chat = new GemmaChat(scriptedEngine({ answer: () => 'One.' }));
  const turns = [{ role: 'user' as const, text: 'a?' }];
  const first = (await collect(chat.answer({ turns, files: [], maxTokens: 99 }))).at(-1)!;
  const more = [...turns, { role: 'model' as const, text: 'One.' }, { role: 'user' as const, text: 'b?' }];
  const second = (await collect(chat.answer({ turns: more, files: [], maxTokens: 99 }))).at(-1)!;
  assert.ok(first.kind === 'end' && second.kind === 'end');
  assert.equal(second.cachedTokens, first.promptTokens);
});

test('tokens per turn add up to the prompt', async () => {
  const chat = new GemmaChat(scriptedEngine());
  const turns = [
    { role: 'user' as const, text: 'a?' },
    { role: 'model' as const, text: 'b' },
    { role: 'user' as const, text: 'c?' },
  ];
  const end = (await collect(chat.answer({ turns, files: [], maxTokens: 9 }))).at(-1)!;
  assert.ok(end.kind === 'end');
  assert.equal(
    chat.countTurns(turns, true).reduce((a, b) => a + b, 0),
    end.promptTokens,
  );
});
