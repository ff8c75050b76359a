/**
 * One stream, two encodings. Frames are LSP's own (`Content-Length: N`, blank line, N bytes); a body that begins
 * with `{` is JSON, any other is MessagePack, whose maps never begin with that byte. Our own methods travel packed,
 * so bytes need no base64; standard LSP stays JSON, so any LSP client can talk to the sidecar.
 *
 * Nothing that arrives is trusted: headers, bodies and nesting are bounded, and a packed body may hold only what
 * JSON can plus byte strings. A bad body is reported and skipped, since the frame says where the next one starts;
 * after a bad header there is no such place, so the stream is closed.
 */
import type { Readable, Writable } from 'node:stream';
import { Packr } from 'msgpackr';
import {
  AbstractMessageReader,
  AbstractMessageWriter,
  type DataCallback,
  type Disposable,
  Message,
  type MessageReader,
  type MessageWriter,
} from 'vscode-jsonrpc';
import { checkPacked } from './packed-check.ts';

export const MAX_HEADER_BYTES = 8 * 1024;
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
/** What may wait for a peer that does not read. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

const OPEN_BRACE = 0x7b;
const HEADER_END = Buffer.from('\r\n\r\n');

/** The shapes JSON gives: undefined members dropped, maps as plain objects, no msgpackr-only record types. */
const PACKING = {
  useRecords: false,
  mapsAsObjects: true,
  encodeUndefinedAsNil: true,
  // Missing from the library's type declarations.
  skipValues: [undefined],
};
const packr = new Packr(PACKING);

export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** Bodies, in order, out of chunks of any size. Throws ProtocolError where the stream cannot be followed further. */
export class FrameParser {
  private chunks: Buffer[] = [];
  private size = 0;
  /** Length of the body being awaited; -1 while a header is. */
  private bodyLength = -1;

  /** Bytes held back because their frame is not complete. */
  get buffered(): number {
    return this.size;
  }

  *push(chunk: Uint8Array): Generator<Buffer, void, void> {
    if (chunk.byteLength > 0) {
      this.chunks.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      this.size += chunk.byteLength;
    }
    for (;;) {
      if (this.bodyLength < 0 && !this.readHeader()) return;
      if (this.size < this.bodyLength) return;
      const body = this.take(this.bodyLength);
      this.bodyLength = -1;
      yield body;
    }
  }

  private readHeader(): boolean {
    if (this.size === 0) return false;
    const head = this.joined();
    const end = head.subarray(0, MAX_HEADER_BYTES).indexOf(HEADER_END);
    if (end < 0) {
      if (head.length >= MAX_HEADER_BYTES) {
        throw new ProtocolError(`A message header is longer than ${MAX_HEADER_BYTES} bytes.`);
      }
      return false;
    }
    this.bodyLength = contentLength(head.toString('latin1', 0, end));
    this.take(end + HEADER_END.length);
    return true;
  }

  private joined(): Buffer {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks, this.size)];
    return this.chunks[0] ?? Buffer.alloc(0);
  }

  private take(length: number): Buffer {
    const all = this.joined();
    this.size -= length;
    this.chunks = this.size > 0 ? [all.subarray(length)] : [];
    return all.subarray(0, length);
  }
}

function contentLength(header: string): number {
  let length: number | undefined;
  for (const line of header.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0) throw new ProtocolError('A message header has a line without a name.');
    if (line.slice(0, colon).trim().toLowerCase() !== 'content-length') continue;
    const value = line.slice(colon + 1).trim();
    if (!/^\d{1,15}$/.test(value) || length !== undefined) {
      throw new ProtocolError('A message header has no valid Content-Length.');
    }
    length = Number(value);
  }
  if (length === undefined) throw new ProtocolError('A message header has no Content-Length.');
  if (length > MAX_MESSAGE_BYTES) {
    throw new ProtocolError(`A message of ${length} bytes is larger than the limit of ${MAX_MESSAGE_BYTES}.`);
  }
  return length;
}

/** Throws ProtocolError for anything that is not one JSON-RPC message. */
export function decodeBody(body: Uint8Array): { readonly message: Message; readonly packed: boolean } {
  const packed = body[0] !== OPEN_BRACE;
  let value: unknown;
  try {
    if (packed) {
      checkPacked(body);
      value = packr.unpack(body);
    } else {
      value = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ProtocolError(`A message body is not valid ${packed ? 'MessagePack' : 'JSON'}: ${reason}`);
  }
  if (!isMessage(value)) throw new ProtocolError('A message body is not a JSON-RPC 2.0 message.');
  return { message: value, packed };
}

function isMessage(value: unknown): value is Message {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { jsonrpc, id, method } = value as { jsonrpc?: unknown; id?: unknown; method?: unknown };
  if (jsonrpc !== '2.0') return false;
  if (method !== undefined && typeof method !== 'string') return false;
  return id === undefined || id === null || typeof id === 'string' || Number.isSafeInteger(id);
}

/** Header and body in one buffer. */
export function encodeFrame(message: Message, packed: boolean): Buffer {
  const body = packed ? packr.pack(message) : Buffer.from(JSON.stringify(message), 'utf8');
  if (body.length > MAX_MESSAGE_BYTES) {
    throw new ProtocolError(
      `A message of ${body.length} bytes is larger than the limit of ${MAX_MESSAGE_BYTES}.`,
    );
  }
  return Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`, 'latin1'), body]);
}

export interface CodecOptions {
  /**
   * Whether the other side is known to read packed messages. The editor knows it of its own sidecar; the sidecar
   * waits until its client has sent one, so that a plain LSP client never sees an encoding it did not ask for.
   */
  readonly peerReadsPacked: boolean;
}

export interface Codec {
  readonly reader: MessageReader;
  readonly writer: MessageWriter;
}

/** What the two directions of one connection know of each other. */
interface Peer {
  readsPacked: boolean;
  /** Requests that came packed and are not answered yet. */
  readonly packedRequests: Set<string | number>;
}

export function createCodec(input: Readable, output: Writable, options: CodecOptions): Codec {
  const peer: Peer = { readsPacked: options.peerReadsPacked, packedRequests: new Set() };
  return { reader: new CodecReader(input, peer), writer: new CodecWriter(output, peer) };
}

class CodecReader extends AbstractMessageReader implements MessageReader {
  private readonly input: Readable;
  private readonly peer: Peer;
  private readonly parser = new FrameParser();
  private closed = false;

  constructor(input: Readable, peer: Peer) {
    super();
    this.input = input;
    this.peer = peer;
  }

  listen(callback: DataCallback): Disposable {
    const onData = (chunk: Uint8Array) => {
      if (this.closed) return;
      try {
        for (const body of this.parser.push(chunk)) this.receive(body, callback);
      } catch (error) {
        this.fireError(error);
        this.close();
      }
    };
    const onError = (error: Error) => this.fireError(error);
    const onEnd = () => this.close();
    this.input.on('data', onData).on('error', onError).on('end', onEnd).on('close', onEnd);
    return {
      dispose: () => {
        this.input.off('data', onData).off('error', onError).off('end', onEnd).off('close', onEnd);
      },
    };
  }

  private receive(body: Buffer, callback: DataCallback): void {
    let decoded: ReturnType<typeof decodeBody>;
    try {
      decoded = decodeBody(body);
    } catch (error) {
      this.fireError(error);
      return;
    }
    if (decoded.packed) {
      this.peer.readsPacked = true;
      if (Message.isRequest(decoded.message) && decoded.message.id !== null) {
        this.peer.packedRequests.add(decoded.message.id);
      }
    }
    callback(decoded.message);
  }

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    this.fireClose();
  }
}

class CodecWriter extends AbstractMessageWriter implements MessageWriter {
  private readonly output: Writable;
  private readonly peer: Peer;
  private errors = 0;
  private closed = false;

  constructor(output: Writable, peer: Peer) {
    super();
    this.output = output;
    this.peer = peer;
    output.on('error', (error: Error) => this.fireError(error, undefined, ++this.errors));
    output.on('close', () => this.close());
  }

  /** Resolves once the peer has room for more, so that whoever streams can wait. */
  write(message: Message): Promise<void> {
    let frame: Buffer;
    try {
      if (this.closed) throw new ProtocolError('The connection is closed.');
      frame = encodeFrame(message, this.packs(message));
      if (this.output.writableLength + frame.length > MAX_QUEUED_BYTES + MAX_HEADER_BYTES) {
        this.close();
        throw new ProtocolError(
          `The other side does not read: ${this.output.writableLength} bytes are waiting.`,
        );
      }
    } catch (error) {
      this.fireError(error, message, ++this.errors);
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.output.write(frame, (error) => (error ? reject(error) : resolve()));
    });
  }

  end(): void {
    this.output.end();
  }

  private packs(message: Message): boolean {
    if (Message.isResponse(message))
      return message.id !== null && this.peer.packedRequests.delete(message.id);
    const method = Message.isRequest(message) || Message.isNotification(message) ? message.method : '';
    return this.peer.readsPacked && method.startsWith('gemma/');
  }

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    this.fireClose();
  }
}
