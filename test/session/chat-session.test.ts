import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RepositoryContext } from '../../sidecar/context/pack.ts';
import { ContextFullError } from '../../sidecar/prompt/budget.ts';
import { ChatSession, type ChatSessionProgress, type ChatSink } from '../../sidecar/session/chat-session.ts';
import { ImageLibrary } from '../../sidecar/session/image-library.ts';
import { ModelHost } from '../../sidecar/session/model-host.ts';
import { temporaryFolder, writeFiles } from '../support/repository.ts';
import { type Script, scriptedEngine } from '../support/scripted-engine.ts';

async function session(script: Script) {
  const host = new ModelHost(async () => scriptedEngine(script));
  await host.select('m', {});
  const progress: ChatSessionProgress[] = [];
  const deltas: string[] = [];
  const sink: ChatSink = {
    progress: (p) => progress.push(p),
    delta: (text) => {
      deltas.push(text);
    },
  };
  return { host, chat: new ChatSession(host, new ImageLibrary(host)), progress, deltas, sink };
}
const user = (text: string) => ({ role: 'user' as const, text });
const model = (text: string) => ({ role: 'model' as const, text });
const never = new AbortController().signal;

test('the head of the prompt stays the same from turn to turn, so only what is new is read', async () => {
  const folder = temporaryFolder({ 'a.ts': 'export const a = 1;\n'.repeat(20), 'b.ts': 'b' });
  const prompts: string[] = [];
  const { chat, sink } = await session({
    answer: (prompt) => {
      prompts.push(prompt);
      return 'Yes.';
    },
  });
  const repository = new RepositoryContext([{ folder, label: null }]);
  const first = await chat.ask({ turns: [user('one?')], repository }, sink, never);
  const turns = [user('one?'), model('Yes.'), user('two?')];
  const second = await chat.ask({ turns, repository }, sink, never);
  assert.equal(second.cachedTokens, first.promptTokens);
  // An edit leaves all that was said before it in the cache: the question that follows tells it.
  writeFiles(folder, { 'b.ts': 'changed' });
  const more = [...turns, model('Yes.'), user('three?')];
  const third = await chat.ask({ turns: more, repository }, sink, never);
  assert.equal(third.cachedTokens, second.promptTokens);
  const again = [...more, model('Yes.'), user('four?')];
  const fourth = await chat.ask({ turns: again, repository }, sink, never);
  assert.equal(fourth.cachedTokens, third.promptTokens);
  assert.equal(fourth.tokenUse.repository, third.tokenUse.repository);
  for (const { tokenUse, promptTokens } of [second, third, fourth])
    assert.equal(tokenUse.repository + tokenUse.conversation, promptTokens);
  const told = prompts.at(-1)!.split('<start_of_turn>');
  assert.equal(
    told.at(-4),
    'user\nSince then b.ts has changed and is now:\n\n=== b.ts\n1| changed\n\nQuestion: three?<end_of_turn>\n',
  );
  assert.equal(told.at(-2), 'user\nQuestion: four?<end_of_turn>\n');
});

test('token use adds up to the prompt, and progress counts it out', async () => {
  const folder = temporaryFolder({ 'a.ts': 'let a;' });
  const { chat, sink, progress } = await session({});
  const repository = new RepositoryContext([{ folder, label: null }]);
  const answer = await chat.ask({ turns: [user('one?')], repository }, sink, never);
  assert.equal(answer.tokenUse.repository + answer.tokenUse.conversation, answer.promptTokens);
  assert.equal(answer.tokenUse.repository, answer.files[0]!.tokens);
  assert.equal(answer.keptTokens, answer.promptTokens + answer.generatedTokens);
  const phases = [...new Set(progress.map((p) => p.phase))];
  assert.deepEqual(phases, ['gathering', 'reading', 'answering']);
  const known = progress.find((p) => p.tokenUse);
  assert.deepEqual(known?.tokenUse, answer.tokenUse);
  assert.equal(known?.fileCount, 1);
  assert.ok(progress.some((p) => p.phase === 'reading' && p.done === answer.promptTokens));
});

test('with little room the conversation goes first and the files get the rest; all is accounted for', async () => {
  const folder = temporaryFolder({ 'a.ts': 'needle\n'.repeat(300) });
  const { chat, sink } = await session({ contextLength: 1024 });
  const repository = new RepositoryContext([{ folder, label: null }]);
  const answer = await chat.ask({ turns: [user('needle?')], repository }, sink, never);
  assert.ok(answer.promptTokens <= 768);
  assert.ok(answer.files.length > 0);
  assert.deepEqual(
    answer.leftOut.map((f) => [f.path, f.reason]),
    [['a.ts', 'budget']],
  );
});

test('before it is sent, a question says which messages no longer fit, and whether what goes along depends on it', async () => {
  const { chat } = await session({ contextLength: 4096 });
  const folder = temporaryFolder({ 'a.ts': 'export const a = 1;\n'.repeat(500) });
  const repository = new RepositoryContext([{ folder, label: null }]);
  const short = await chat.preview({ turns: [user('What is `a`?')], repository }, never);
  assert.deepEqual([short.forgotten, short.lasting], [0, false]);
  const said = [user('x'.repeat(800)), model('y'.repeat(800))];
  const turns = [...said, ...said, ...said, user('And now?')];
  assert.equal((await chat.preview({ turns, repository }, never)).forgotten, 4);
});

test('where pinned files do not fit beside a conversation, forgetting what was said is offered too', async () => {
  const { chat } = await session({ contextLength: 4096 });
  const folder = temporaryFolder({ 'a.ts': 'export const a = 1;\n'.repeat(118) });
  const repository = new RepositoryContext([{ folder, label: null }]);
  const choice = { pinned: ['a.ts'], dropped: [] };
  const alone = await chat.preview({ turns: [user('Why?')], repository, choice }, never);
  assert.ok(alone.packed && alone.packed.tokens > 2700);
  const turns = [user('x'.repeat(600)), model('y'.repeat(300)), user('Why?')];
  await assert.rejects(chat.preview({ turns, repository, choice }, never), (error) => {
    assert.ok(error instanceof ContextFullError);
    assert.match(error.message, /pinned files take/);
    const [pin, said] = error.offers;
    assert.deepEqual([pin?.kind, pin?.name], ['pin', 'a.ts']);
    assert.deepEqual([said?.kind, said?.name], ['turns', '2']);
    return said!.tokens > 900 && said!.tokens < 1000;
  });
});

test('what was adjusted when the model was loaded is said with the first answer, and not again', async () => {
  const note = 'Lowered the context to 4096 tokens.';
  const { sink } = await session({});
  const host = new ModelHost(async () =>
    Object.assign(scriptedEngine({ answer: () => 'Yes.' }), { notes: [note] }),
  );
  await host.select('m', {});
  const chat = new ChatSession(host, new ImageLibrary(host));
  const first = await chat.ask({ turns: [user('a?')], repository: null }, sink, never);
  assert.deepEqual(first.notes, [note]);
  const turns = [user('a?'), model('Yes.'), user('b?')];
  assert.deepEqual((await chat.ask({ turns, repository: null }, sink, never)).notes, []);
});

test('a question without an answer is joined with the next', async () => {
  let prompt = '';
  const { chat, sink } = await session({
    answer: (text) => {
      prompt = text;
      return 'ok';
    },
  });
  await chat.ask({ turns: [user('one?'), user('two?')], repository: null }, sink, never);
  assert.equal(prompt, '<bos><start_of_turn>user\none?\n\ntwo?<end_of_turn>\n<start_of_turn>model\n');
});

test('cancelled while files are gathered, while reading, while answering: always an answer that says so', async () => {
  const folder = temporaryFolder({ 'a.ts': 'x'.repeat(2000) });
  for (const phase of ['gathering', 'reading', 'answering'] as const) {
    const { chat, deltas } = await session({ answer: () => 'y'.repeat(50) });
    const abort = new AbortController();
    const answer = await chat.ask(
      { turns: [user('?')], repository: new RepositoryContext([{ folder, label: null }]) },
      {
        progress: (p) => {
          if (p.phase === phase) abort.abort();
        },
        delta: (text) => {
          deltas.push(text);
        },
      },
      abort.signal,
    );
    assert.equal(answer.stopReason, 'cancelled', phase);
    assert.equal(answer.text, deltas.join(''));
    assert.ok(answer.text.length < 50);
    if (phase === 'reading') assert.ok(answer.keptTokens < answer.promptTokens, 'what was read is told');
    if (phase === 'answering') assert.ok(answer.keptTokens > answer.promptTokens);
    const again = await chat.ask(
      { turns: [user('?')], repository: null },
      { progress: () => {}, delta: () => {} },
      never,
    );
    assert.equal(again.stopReason, 'end');
  }
});

test('a slow reader slows the answer instead of being flooded', async () => {
  let produced = 0;
  const { chat } = await session({
    answer: () => Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join(''),
    gate: async () => {
      produced++;
    },
  });
  let taken = 0;
  let ahead = 0;
  await chat.ask(
    { turns: [user('?')], repository: null },
    {
      progress: () => {},
      delta: async () => {
        taken++;
        await new Promise((resolve) => setImmediate(resolve));
        ahead = Math.max(ahead, produced - taken);
      },
    },
    never,
  );
  assert.equal(taken, 95);
  assert.ok(ahead <= 3, `${ahead} tokens ahead`);
});
