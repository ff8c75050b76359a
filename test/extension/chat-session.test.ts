import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ChatSession } from '../../extension/chat-session.ts';
import type { ChatParams, ChatResult } from '../../sidecar/protocol/methods.ts';
import type { Picture } from '../../webview/picture.ts';
import { activity, type ChatEvent, restoredState, type SavedChat } from '../../webview/state.ts';

const TOKEN_USE = { contextLength: 8192, repository: 0, conversation: 40, reserved: 1024 };

const OVER_LONG = { needed: 9000, available: 8000, offers: [] };

const PICTURE: Picture = {
  key: 'k',
  name: 'a.png',
  width: 4,
  height: 4,
  details: false,
  notes: [],
  encoding: { state: 'ready', imageId: 'i', tokens: 260 },
};

function result(requestId: string, text: string): ChatResult {
  return {
    requestId,
    text,
    stopReason: 'end',
    promptTokens: 10,
    cachedTokens: 0,
    generatedTokens: 2,
    keptTokens: 0,
    prefillMs: 1,
    decodeMs: 1,
    tokenUse: TOKEN_USE,
    files: [],
    leftOut: [],
    citations: [],
    notes: [],
  };
}

interface Setting {
  readonly session: ChatSession;
  readonly asked: ChatParams[];
  readonly events: ChatEvent[];
  readonly saved: SavedChat[];
}

function setting(chat: (params: ChatParams, signal: AbortSignal) => Promise<ChatResult>): Setting {
  const asked: ChatParams[] = [];
  const events: ChatEvent[] = [];
  const saved: SavedChat[] = [];
  const session = new ChatSession({
    chat: (params, signal) => {
      asked.push(params);
      return chat(params, signal);
    },
    images: async (pictures) =>
      pictures.map(({ key, name, encoding }) => {
        if (encoding.state === 'failed') throw new Error(encoding.message);
        return { id: `id of ${key}`, name };
      }),
    preview: async () => Promise.reject(new Error('nobody knows')),
    choice: () => ({ pinned: [], dropped: [] }),
    overLongOf: (error) => (String(error).includes('too long') ? OVER_LONG : null),
    isImageUnknown: (error) => String(error).includes('forgotten'),
    describeFailure: (error) => ({ message: String(error), fixes: ['retry'] }),
    saved: { messages: [], promptUse: null },
    save: (state) => saved.push(state),
    onEvent: (event) => events.push(event),
  });
  return { session, asked, events, saved };
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
}

describe('a chat session', () => {
  it('sends the conversation with each question and saves it', async () => {
    const { session, asked, saved } = setting(async ({ requestId, turns }) =>
      result(requestId, `${turns.length}`),
    );
    session.dispatch({ type: 'workspace-changed', workspace: { folder: 'shop', trusted: true } });
    await session.ask('One?');
    await session.ask('Two?');
    assert.deepEqual(
      asked[1]?.turns.map((turn) => turn.text),
      ['One?', '1', 'Two?'],
    );
    assert.equal(asked[1]?.useRepository, true);
    assert.deepEqual(saved.at(-1)?.messages, session.state.messages);
  });

  it('sends a selection with its question, and again with that question as an earlier turn', async () => {
    const { session, asked } = setting(async ({ requestId }) => result(requestId, 'x'));
    const attachment = { path: 'src/a.ts', startLine: 3, endLine: 4, text: 'a\nb' };
    const sent = [{ kind: 'selection', path: 'src/a.ts', startLine: 3, text: 'a\nb' }];
    session.dispatch({ type: 'attached', attachment });
    await session.ask('One?');
    assert.deepEqual(asked[0]?.attachments, sent);
    await session.regenerate();
    assert.deepEqual(asked[1]?.attachments, sent);
    await session.ask('Two?');
    assert.equal(asked[2]?.attachments, undefined);
    assert.deepEqual(asked[2]?.turns[0], { role: 'user', text: 'One?', attachments: sent });
  });

  it('sends a picture with its question, and again with that question as an earlier turn', async () => {
    const { session, asked } = setting(async ({ requestId }) => result(requestId, 'x'));
    session.dispatch({ type: 'picture-attached', picture: PICTURE });
    await session.ask('What is this?');
    await session.ask('And why?');
    const images = [{ id: 'id of k', name: 'a.png' }];
    assert.deepEqual(asked[0]?.turns, [{ role: 'user', text: 'What is this?', images }]);
    assert.deepEqual(asked[1]?.turns, [
      { role: 'user', text: 'What is this?', images },
      { role: 'model', text: 'x' },
      { role: 'user', text: 'And why?' },
    ]);
  });

  it('asks once more when the sidecar has forgotten a picture, and not for ever', async () => {
    const { session, asked } = setting(async () => {
      throw new Error('forgotten');
    });
    session.dispatch({ type: 'picture-attached', picture: PICTURE });
    await session.ask('What is this?');
    assert.equal(asked.length, 2);
    assert.equal(activity(session.state), 'error');
  });

  it('takes a question back that does not fit, and says so to whoever asked', async () => {
    const { session } = setting(async () => {
      throw new Error('too long');
    });
    await assert.rejects(session.ask('One?'), /too long/);
    assert.deepEqual(session.state.messages, []);
    assert.equal(session.state.overLong, OVER_LONG);
    assert.equal(activity(session.state), 'idle');
  });

  it('takes a question back whose picture cannot be read, with the picture', async () => {
    const { session } = setting(async ({ requestId }) => result(requestId, 'x'));
    const encoding = { state: 'failed', message: 'This model has no image tower.', blind: true } as const;
    session.dispatch({ type: 'picture-attached', picture: PICTURE });
    const asking = session.ask('What is this?');
    session.dispatch({ type: 'picture-changed', picture: { ...PICTURE, encoding } });
    await asking;
    session.dispatch({ type: 'picture-attached', picture: { ...PICTURE, key: 'k2', encoding } });
    await assert.rejects(session.ask('And this?'), /no image tower/);
    assert.equal(session.state.messages.length, 2);
    assert.deepEqual(
      session.state.pictures.map(({ key }) => key),
      ['k2'],
    );
  });

  it('keeps what goes along with the next question over a restart', async () => {
    const { session, saved } = setting(async ({ requestId }) => result(requestId, 'x'));
    session.dispatch({ type: 'picture-attached', picture: PICTURE });
    session.dispatch({
      type: 'attached',
      attachment: { path: 'src/a.ts', startLine: 3, endLine: 4, text: 'a' },
    });
    await session.preview('What is');
    assert.equal(saved.at(-1)?.draft, 'What is');
    const { pictures, attachments } = restoredState(saved.at(-1)!);
    assert.deepEqual(pictures, [{ ...PICTURE, encoding: { state: 'stopped' } }]);
    assert.equal(attachments.length, 1);
    session.dispatch({ type: 'picture-removed', key: PICTURE.key });
    assert.deepEqual(saved.at(-1)?.pictures, []);
    await session.ask('What is this?');
    assert.equal(saved.at(-1)?.draft, '');
  });

  it('says nothing of a cost that nobody knows', async () => {
    const { session, events } = setting(async ({ requestId }) => result(requestId, 'x'));
    await session.preview('One?');
    assert.deepEqual(events, [{ type: 'previewed', preview: null }]);
  });

  it('does not read the repository of a workspace that is not trusted', async () => {
    const { session, asked } = setting(async ({ requestId }) => result(requestId, 'x'));
    session.dispatch({ type: 'workspace-changed', workspace: { folder: 'shop', trusted: false } });
    await session.ask('One?');
    assert.equal(asked[0]?.useRepository, false);
  });

  it('asks the same question again, without the answer it replaces', async () => {
    const { session, asked } = setting(async ({ requestId }) => result(requestId, 'x'));
    await session.ask('One?');
    await session.regenerate();
    assert.deepEqual(asked[1]?.turns, asked[0]?.turns);
    assert.equal(session.state.messages.length, 2);
  });

  it('refuses a second question while it answers', async () => {
    const { session } = setting((_, signal) => untilAborted(signal));
    const first = session.ask('One?');
    await assert.rejects(session.ask('Two?'), /under way/);
    session.stop();
    await first;
  });

  it('keeps the streamed text when it is stopped', async () => {
    const { session, asked } = setting((_, signal) => untilAborted(signal));
    const first = session.ask('One?');
    await new Promise((sent) => setImmediate(sent));
    session.streamed({ requestId: asked[0]?.requestId ?? '', text: 'In src' });
    session.stop();
    await first;
    const answer = session.state.messages.at(-1);
    assert.equal(answer?.text, 'In src');
    assert.equal(answer?.role === 'model' && answer.end, 'stopped');
    assert.equal(activity(session.state), 'idle');
  });

  it('shows why a question failed, and answers the next one', async () => {
    let healthy = false;
    const { session } = setting(async ({ requestId }) => {
      if (!healthy) throw new Error('no');
      return result(requestId, 'yes');
    });
    await session.ask('One?');
    assert.equal(activity(session.state), 'error');
    healthy = true;
    await session.regenerate();
    assert.equal(session.state.messages.at(-1)?.text, 'yes');
  });

  it('forgets an answer under way when a new chat begins', async () => {
    const { session, saved } = setting((_, signal) => untilAborted(signal));
    const first = session.ask('One?');
    session.clear();
    await first;
    assert.deepEqual(session.state.messages, []);
    assert.deepEqual(saved.at(-1)?.messages, []);
  });
});
