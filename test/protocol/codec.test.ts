import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { pack } from 'msgpackr';
import type { Message } from 'vscode-jsonrpc';
import {
  createCodec,
  decodeBody,
  encodeFrame,
  FrameParser,
  MAX_HEADER_BYTES,
  MAX_MESSAGE_BYTES,
  ProtocolError,
} from '../../sidecar/protocol/codec.ts';
import { seededRandom } from '../support/random.ts';

const note = (method: string, params?: unknown) => ({ jsonrpc: '2.0', method, params }) as Message;
const request = (id: number, method: string, params?: unknown) =>
  ({ jsonrpc: '2.0', id, method, params }) as Message;
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Two codecs, each reading what the other writes. */
function pair(options: { editorPacks: boolean }) {
  const up = new PassThrough();
  const down = new PassThrough();
  const editor = createCodec(down, up, { peerReadsPacked: options.editorPacks });
  const sidecar = createCodec(up, down, { peerReadsPacked: false });
  const raw: Buffer[] = [];
  down.on('data', (chunk: Buffer) => raw.push(chunk));
  const seen = { editor: [] as Message[], sidecar: [] as Message[] };
  editor.reader.listen((m) => seen.editor.push(m));
  sidecar.reader.listen((m) => seen.sidecar.push(m));
  return { editor, sidecar, seen, rawDown: () => Buffer.concat(raw) };
}

const bodies = (bytes: Uint8Array) => [...new FrameParser().push(bytes)];

test('both encodings give the same shapes', () => {
  const params = {
    text: 'grüße \u{1f600}',
    big: 2 ** 40,
    negative: -1.5,
    nothing: null,
    list: [1, 'a', false, { deep: [] }],
    missing: undefined,
  };
  const expected = JSON.parse(JSON.stringify(note('gemma/x', params)));
  for (const packed of [false, true]) {
    const [body] = bodies(encodeFrame(note('gemma/x', params), packed));
    const decoded = decodeBody(body!);
    assert.equal(decoded.packed, packed);
    assert.deepEqual(decoded.message, expected);
  }
});

test('bytes travel raw in packed messages', () => {
  const [body] = bodies(encodeFrame(note('gemma/x', { bytes: new Uint8Array([0, 255, 123]) }), true));
  const { message } = decodeBody(body!) as unknown as { message: { params: { bytes: Uint8Array } } };
  assert.deepEqual([...message.params.bytes], [0, 255, 123]);
});

test('our methods are packed, standard ones and their replies are JSON', async () => {
  const { editor, sidecar, seen, rawDown } = pair({ editorPacks: true });
  await editor.writer.write(request(1, 'initialize', {}));
  await editor.writer.write(request(2, 'gemma/status', null));
  await settle();
  assert.equal(seen.sidecar.length, 2);
  await sidecar.writer.write({ jsonrpc: '2.0', id: 1, result: 'json' } as Message);
  await sidecar.writer.write({ jsonrpc: '2.0', id: 2, result: 'packed' } as Message);
  await sidecar.writer.write(note('gemma/statusChanged', {}));
  await sidecar.writer.write(note('window/logMessage', {}));
  await settle();
  assert.deepEqual(
    bodies(rawDown()).map((body) => decodeBody(body).packed),
    [false, true, true, false],
  );
  assert.equal(seen.editor.length, 4);
});

test('a client that never packs never sees a packed message', async () => {
  const { editor, sidecar, seen, rawDown } = pair({ editorPacks: false });
  await editor.writer.write(request(1, 'gemma/chat', {}));
  await settle();
  assert.equal(seen.sidecar.length, 1);
  await sidecar.writer.write(note('gemma/chatDelta', {}));
  await sidecar.writer.write({ jsonrpc: '2.0', id: 1, result: null } as Message);
  await settle();
  assert.deepEqual(
    bodies(rawDown()).map((body) => decodeBody(body).packed),
    [false, false],
  );
});

test('frames arrive whole however they are split or merged', () => {
  const random = seededRandom(7);
  const messages = Array.from({ length: 60 }, (_, i) =>
    request(i, i % 2 ? 'gemma/chat' : 'x', { text: 'é'.repeat(Math.floor(random() * 400)) }),
  );
  const bytes = Buffer.concat(messages.map((m, i) => encodeFrame(m, i % 2 === 1)));
  for (let round = 0; round < 200; round++) {
    const parser = new FrameParser();
    const got: unknown[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + Math.floor(random() * (round % 3 === 0 ? 5 : 4000));
      for (const body of parser.push(bytes.subarray(at, at + length))) got.push(decodeBody(body).message);
      at += length;
    }
    assert.equal(parser.buffered, 0);
    assert.deepEqual(got, messages);
  }
});

test('a bad body is reported and the next message still arrives', async () => {
  const input = new PassThrough();
  const { reader } = createCodec(input, new PassThrough(), { peerReadsPacked: false });
  const errors: Error[] = [];
  const seen: Message[] = [];
  let closed = false;
  reader.onError((e) => errors.push(e));
  reader.onClose(() => {
    closed = true;
  });
  reader.listen((m) => seen.push(m));
  const frame = (body: Uint8Array) =>
    Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]);
  const bad = [
    Buffer.from('{"jsonrpc":'),
    Buffer.from('[]'),
    Buffer.from(''),
    Buffer.from([0x7b, 0xff, 0xfe]),
    Buffer.from('{"jsonrpc":"1.0"}'),
    Buffer.from('{"jsonrpc":"2.0","id":{}}'),
    pack(new Date()),
    Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0xd4, 0x72, 0x40]),
    Buffer.alloc(100_000, 0x91),
  ];
  for (const body of bad) input.write(frame(body));
  input.write(encodeFrame(note('still/here'), false));
  await settle();
  assert.equal(errors.length, bad.length);
  assert.ok(errors.every((e) => e instanceof ProtocolError));
  assert.deepEqual(
    seen.map((m) => (m as { method?: string }).method),
    ['still/here'],
  );
  assert.equal(closed, false);
});

test('a bad header closes the stream', async () => {
  for (const header of [
    'Content-Length: -1\r\n\r\n',
    'Content-Length: 1e9\r\n\r\n',
    `Content-Length: ${MAX_MESSAGE_BYTES + 1}\r\n\r\n`,
    'Content-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'Content-Type: x\r\n\r\n',
    'stray print\r\n\r\n',
    'x'.repeat(MAX_HEADER_BYTES),
  ]) {
    const input = new PassThrough();
    const { reader } = createCodec(input, new PassThrough(), { peerReadsPacked: false });
    const errors: Error[] = [];
    let closes = 0;
    reader.onError((e) => errors.push(e));
    reader.onClose(() => closes++);
    reader.listen(() => assert.fail('no message'));
    input.write(header);
    input.end(encodeFrame(note('too/late'), false));
    await settle();
    assert.equal(errors.length, 1, header.slice(0, 40));
    assert.equal(closes, 1);
  }
});

test('a peer that does not read closes the connection instead of filling memory', async () => {
  const output = new PassThrough({ highWaterMark: 1 });
  const { writer } = createCodec(new PassThrough(), output, { peerReadsPacked: false });
  let closed = false;
  writer.onClose(() => {
    closed = true;
  });
  writer.onError(() => {});
  const text = 'x'.repeat(16 * 1024 * 1024);
  const writes = Array.from({ length: 6 }, () => writer.write(note('x', text)));
  const failed = writes.map((w) => w.then(() => false).catch(() => true));
  await assert.rejects(writes.at(-1)!, ProtocolError);
  assert.ok(closed);
  output.resume();
  await Promise.all(failed.slice(0, 3));
});

test('100,000 damaged frames give a message or a ProtocolError, never anything else', () => {
  const random = seededRandom(11);
  const samples = [
    encodeFrame(request(1, 'gemma/chat', { requestId: 'a', turns: [{ role: 'user', text: 'hi' }] }), true),
    encodeFrame(request(2, 'initialize', { processId: 1, capabilities: {} }), false),
    encodeFrame(note('gemma/x', { bytes: new Uint8Array(40), list: [1, 2.5, null, true, 'é'] }), true),
    encodeFrame({ jsonrpc: '2.0', id: 'x', result: { a: [[[]]] } } as Message, true),
  ];
  let accepted = 0;
  let refused = 0;
  for (let i = 0; i < 100_000; i++) {
    const bytes = Buffer.from(samples[i % samples.length]!);
    const edits = 1 + Math.floor(random() * 3);
    for (let e = 0; e < edits; e++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    const cut = random() < 0.1 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes;
    const parser = new FrameParser();
    try {
      for (const body of parser.push(cut)) {
        decodeBody(body);
        accepted++;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      refused++;
    }
  }
  assert.ok(accepted > 1000 && refused > 1000, `${accepted} accepted, ${refused} refused`);
});
