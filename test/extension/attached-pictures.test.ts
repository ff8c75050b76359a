import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { AttachedPictures } from '../../extension/attached-pictures.ts';
import { PictureShelf } from '../../extension/picture-shelf.ts';
import type { EncodeImageParams, EncodeImageResult } from '../../sidecar/protocol/methods.ts';
import type { DecodedPicture } from '../../webview/messages.ts';
import { allPictures, type ChatState, INITIAL_STATE, reduce } from '../../webview/state.ts';

const folder = mkdtempSync(join(tmpdir(), 'gemma-sidecar-pictures-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Each pixel's red is its column, its green its row. */
function decoded(width: number, height: number): DecodedPicture {
  const rgba = new Uint8Array(width * height * 4).map((_, i) => {
    const [x, y] = [Math.floor(i / 4) % width, Math.floor(i / 4 / width)];
    return [x, y, 0, 255][i % 4] ?? 0;
  });
  return { name: 'a.png', width, height, rgba: rgba.buffer, thumbnail: new ArrayBuffer(3), notes: [] };
}

function setting(encode: (params: EncodeImageParams, signal: AbortSignal) => Promise<EncodeImageResult>) {
  let state: ChatState = INITIAL_STATE;
  const asked: EncodeImageParams[] = [];
  const pictures = new AttachedPictures({
    encode: (params, signal) => {
      asked.push(params);
      return encode(params, signal);
    },
    shelf: new PictureShelf(join(folder, String(Math.random()).slice(2))),
    all: () => allPictures(state),
    dispatch: (event) => {
      state = reduce(state, event);
    },
    showThumbnail: () => {},
    describe: (error) => ({
      message: `Not read: ${String(error)}`,
      ...(/tower/.test(String(error)) && { blind: true }),
    }),
    log: () => {},
  });
  return { pictures, asked, state: () => state, first: () => state.pictures[0]! };
}

const encoded = async ({ requestId, image }: EncodeImageParams): Promise<EncodeImageResult> => ({
  requestId,
  id: 'hash',
  width: image.kind === 'pixels' ? image.width : 0,
  height: image.kind === 'pixels' ? image.height : 0,
  tokens: 260,
  cached: false,
  ms: 1,
  details: { crops: 2, tokens: 520, advised: true },
});

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
}

describe('a picture', () => {
  it('is encoded as soon as it is attached, and its question sends its id', async () => {
    const { pictures, first } = setting(encoded);
    pictures.attach('k1', decoded(10, 6));
    assert.equal(first().encoding.state, 'waiting');
    assert.deepEqual(await pictures.toWire([first()]), [{ id: 'hash', name: 'a.png' }]);
    assert.deepEqual(first().encoding, { state: 'ready', imageId: 'hash', tokens: 260 });
    assert.equal(first().offer?.crops, 2);
  });

  it('shows how far its encoding is', () => {
    const { pictures, asked, first } = setting((_, signal) => untilAborted(signal));
    pictures.attach('k1', decoded(4, 4));
    return new Promise<void>((done) => setImmediate(done)).then(() => {
      const { requestId } = asked[0]!;
      pictures.progressed({ requestId, phase: 'encoding', layer: 9, layers: 27, image: 1, images: 1 });
      assert.deepEqual(first().encoding, { state: 'encoding', layer: 9, layers: 27, image: 1, images: 1 });
    });
  });

  it('that is taken off is no longer encoded', async () => {
    const signals: AbortSignal[] = [];
    const { pictures, state } = setting((_, signal) => {
      signals.push(signal);
      return untilAborted(signal);
    });
    pictures.attach('k1', decoded(4, 4));
    await new Promise((done) => setImmediate(done));
    pictures.remove('k1');
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true],
    );
    assert.deepEqual(state().pictures, []);
  });

  it('of which a part was chosen sends exactly the pixels of that part', async () => {
    const { pictures, asked, first } = setting(encoded);
    pictures.attach('k1', decoded(10, 8));
    await pictures.settled([first()]);
    await pictures.chooseRegion('k1', { x: 2, y: 3, width: 5, height: 4 }, Uint8Array.of(1));
    await pictures.settled([first()]);
    const image = asked.at(-1)!.image;
    assert.ok(image.kind === 'pixels');
    assert.deepEqual([image.width, image.height, image.rgba.length], [5, 4, 80]);
    const corner = (x: number, y: number) => [...image.rgba.subarray((y * 5 + x) * 4, (y * 5 + x) * 4 + 2)];
    assert.deepEqual(
      [corner(0, 0), corner(4, 0), corner(0, 3), corner(4, 3)],
      [
        [2, 3],
        [6, 3],
        [2, 6],
        [6, 6],
      ],
    );
    await pictures.chooseRegion('k1', null, Uint8Array.of(1));
    await pictures.settled([first()]);
    assert.equal(first().region, undefined);
  });

  it('that cannot be read says why, and its question is not sent', async () => {
    let blind = true;
    const { pictures, first } = setting((params) =>
      blind ? Promise.reject(new Error('no image tower')) : encoded(params),
    );
    pictures.attach('k1', decoded(4, 4));
    await pictures.settled([first()]);
    const failed = { state: 'failed', message: 'Not read: Error: no image tower', blind: true };
    assert.deepEqual(first().encoding, failed);
    await assert.rejects(pictures.toWire([first()]), /no image tower/);
    blind = false;
    assert.deepEqual(await pictures.toWire([first()]), [{ id: 'hash', name: 'a.png' }]);
  });

  it('whose question is stopped is no longer encoded, at once, and can be encoded again', async () => {
    const signals: AbortSignal[] = [];
    const { pictures, first } = setting((params, signal) => {
      signals.push(signal);
      // A sidecar that never answers.
      return signals.length === 1 ? new Promise(() => {}) : encoded(params);
    });
    pictures.attach('k1', decoded(4, 4));
    const stop = new AbortController();
    const sending = pictures.toWire([first()], { signal: stop.signal });
    await new Promise((done) => setImmediate(done));
    stop.abort();
    await assert.rejects(sending, { name: 'AbortError' });
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true],
    );
    assert.deepEqual(first().encoding, { state: 'stopped' });
    assert.deepEqual(await pictures.toWire([first()]), [{ id: 'hash', name: 'a.png' }]);
  });

  it('is named so that it can be told from others', () => {
    const { pictures, state } = setting(encoded);
    for (const key of ['k1', 'k2', 'k3']) pictures.attach(key, decoded(4, 4));
    assert.deepEqual(
      state().pictures.map(({ name }) => name),
      ['a.png', 'a.png (2)', 'a.png (3)'],
    );
  });

  it('is encoded anew for a sidecar that has forgotten it, from the shelf', async () => {
    const { pictures, asked, first } = setting(encoded);
    pictures.attach('k1', decoded(6, 6));
    await pictures.toWire([first()]);
    await pictures.toWire([first()], { anew: true });
    assert.equal(asked.length, 2);
    assert.deepEqual(asked[1]?.image, asked[0]?.image);
    assert.notEqual(asked[1]?.requestId, asked[0]?.requestId);
  });

  it('with details asks for them, and says so on the wire', async () => {
    const { pictures, asked, first } = setting(encoded);
    pictures.attach('k1', decoded(6, 6));
    await pictures.settled([first()]);
    pictures.readDetails('k1', true);
    assert.deepEqual(await pictures.toWire([first()]), [{ id: 'hash', name: 'a.png', details: true }]);
    assert.equal(asked.at(-1)?.details, true);
  });
});
