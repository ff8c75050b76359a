/** Pictures through the whole sidecar: a text model as narrow as the fixtures' image tower leads to, and that tower beside it. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import type { CostPreview } from '../../sidecar/protocol/context-types.ts';
import { ErrorCode } from '../../sidecar/protocol/errors.ts';
import type {
  ChatImage,
  ChatResult,
  EncodeImageParams,
  EncodeImageResult,
  ImageProgress,
  Status,
} from '../../sidecar/protocol/methods.ts';
import { temporaryFolder } from '../support/repository.ts';
import {
  type ClientOptions,
  REAL_SIDECAR,
  SCRIPTED_SIDECAR,
  SidecarClient,
} from '../support/sidecar-client.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';
import { TOWER_FILE } from '../support/tower-file.ts';

const folder = temporaryFolder();
const modelPath = path.join(folder, 'model.gguf');
/** The tower's 4 tokens, two markers, two blank lines. */
const IMAGE_TOKENS = 8;
before(() => {
  writeTinyModel(modelPath, { shape: { ...MODEL_SHAPES.nano, hidden: 32 }, branchScale: 0.5 });
  copyFileSync(TOWER_FILE, path.join(folder, 'mmproj-model-f16.gguf'));
});

class Seeing {
  readonly progress: ImageProgress[] = [];
  readonly client: SidecarClient;
  private asked = 0;
  private look: () => void = () => {};

  private constructor(client: SidecarClient) {
    this.client = client;
    client.connection.onNotification('gemma/imageProgress', (p: ImageProgress) => {
      this.progress.push(p);
      this.look();
    });
  }

  static async start(options: ClientOptions = {}): Promise<Seeing> {
    const initializationOptions = { modelPath, contextLength: 1024, ...options.initializationOptions };
    return new Seeing(
      await SidecarClient.start({ program: REAL_SIDECAR, ...options, initializationOptions }),
    );
  }

  encode(params: Omit<EncodeImageParams, 'requestId'>): Promise<EncodeImageResult> {
    const requestId = `i${++this.asked}`;
    return this.client.connection.sendRequest('gemma/encodeImage', { requestId, ...params });
  }

  /** Resolves once progress has come for which `test` holds. */
  until(test: (progress: ImageProgress) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.look = () => {
        if (this.progress.some(test)) resolve();
      };
      this.look();
    });
  }

  ask(turns: readonly object[], more: object = {}): Promise<ChatResult> {
    const requestId = `q${++this.asked}`;
    const params = { requestId, turns, useRepository: false, ...more };
    return this.client.connection.sendRequest('gemma/chat', params);
  }

  preview(turns: readonly object[]): Promise<CostPreview> {
    return this.client.connection.sendRequest('gemma/preview', { turns, useRepository: false });
  }

  status(): Promise<Status> {
    return this.client.connection.sendRequest('gemma/status', null);
  }
}

/** A picture of one colour, but for a pixel. */
function picture(colour: number, width = 40, height = 30) {
  const rgba = new Uint8Array(4 * width * height).fill(colour);
  for (let i = 3; i < rgba.length; i += 4) rgba[i] = 255;
  rgba[0] = 255 - colour;
  return { kind: 'pixels' as const, width, height, rgba };
}

const named = ({ id }: EncodeImageResult, name: string): ChatImage => ({ id, name });
const user = (text: string, ...images: ChatImage[]) => ({ role: 'user', text, images });
const model = (text: string) => ({ role: 'model', text });

test('a picture is encoded with its progress, and questions about it read it once', async () => {
  const seeing = await Seeing.start();
  const first = await seeing.encode({ image: picture(40) });
  assert.deepEqual([first.width, first.height, first.tokens, first.cached], [40, 30, IMAGE_TOKENS, false]);
  assert.deepEqual(
    seeing.progress.map(({ phase, layer, layers, image, images }) => [phase, layer, layers, image, images]),
    [
      ['decoding', 0, 0, 1, 1],
      ['waiting', 0, 2, 1, 1],
      ['loading', 0, 2, 1, 1],
      ['encoding', 0, 2, 1, 1],
      ['encoding', 2, 2, 1, 1],
    ].filter(([phase, layer]) => phase !== 'encoding' || layer !== 1),
  );
  const again = await seeing.encode({ image: picture(40) });
  assert.deepEqual([again.id, again.cached], [first.id, true]);
  const other = await seeing.encode({ image: picture(200) });
  assert.notEqual(other.id, first.id);

  const without = await seeing.ask([user('What is this?')]);
  const one = await seeing.ask([user('What is this?', named(first, 'a.png'))]);
  assert.equal(one.promptTokens, without.promptTokens + IMAGE_TOKENS);
  const { text } = one;
  const followUp = await seeing.ask([
    user('What is this?', named(first, 'a.png')),
    model(text),
    user('And in red?'),
  ]);
  assert.ok(followUp.cachedTokens >= one.promptTokens, `${followUp.cachedTokens} of ${one.promptTokens}`);
  const otherOne = await seeing.ask([user('What is this?', named(other, 'b.png'))]);
  assert.ok(otherOne.cachedTokens < one.promptTokens - IMAGE_TOKENS, 'another picture is read');
  assert.equal(otherOne.cacheMiss?.differs?.now, '[image]');
  const both = await seeing.ask([user('Which is red?', named(first, 'a.png'), named(other, 'b.png'))]);
  const neither = await seeing.ask([user('Which is red?')]);
  assert.equal(both.promptTokens, neither.promptTokens + 2 * IMAGE_TOKENS);
  const { promptTokens } = await seeing.preview([user('Which is red?', named(first, 'a.png'))]);
  assert.equal(promptTokens, neither.promptTokens + IMAGE_TOKENS);

  const { images } = await seeing.status();
  assert.deepEqual(images, { available: true, tokens: 4, imageSize: 28 });
  assert.equal(await seeing.client.stop(), 0);
});

test('after a restart a question about a picture finds its KV on disk', async () => {
  const environment = { XDG_CACHE_HOME: temporaryFolder(), LOCALAPPDATA: temporaryFolder() };
  const question = `What is this? ${'word '.repeat(150)}`;
  const ask = async () => {
    const seeing = await Seeing.start({ environment });
    const encoded = await seeing.encode({ image: picture(90) });
    const result = await seeing.ask([user(question, named(encoded, 'a.png'))]);
    assert.equal(await seeing.client.stop(), 0);
    return result;
  };
  const first = await ask();
  const second = await ask();
  assert.equal(first.restoredTokens ?? 0, 0);
  assert.ok((second.restoredTokens ?? 0) >= 64, `${second.restoredTokens} tokens from disk`);
  assert.equal(second.restoredTokens, second.cachedTokens);
});

test('parts of a long picture are offered with their cost, and sent when they are asked for', async () => {
  const seeing = await Seeing.start();
  const image = picture(120, 1200, 400);
  const whole = await seeing.encode({ image });
  const { crops, tokens, advised } = whole.details!;
  assert.deepEqual([crops, advised], [3, true]);
  const detailed = await seeing.encode({ image, details: true });
  assert.equal(detailed.id, whole.id);
  assert.equal(detailed.tokens, whole.tokens + tokens);
  assert.ok(seeing.progress.some((p) => p.image === 4 && p.images === 4));
  const plain = await seeing.ask([user('What?', named(whole, 'a.png'))]);
  const parts = await seeing.ask([user('What?', { ...named(whole, 'a.png'), details: true })]);
  assert.equal(parts.promptTokens, plain.promptTokens + tokens);
  const unseen = await seeing.encode({ image: picture(121, 1200, 400) });
  await assert.rejects(seeing.ask([user('What?', { ...named(unseen, 'b.png'), details: true })]), {
    code: ErrorCode.ImageUnknown,
  });
  assert.equal(await seeing.client.stop(), 0);
});

test('encoding is cancelled between layers, with what LSP says of cancelled requests', async () => {
  const seeing = await Seeing.start({
    program: SCRIPTED_SIDECAR,
    environment: { SCRIPTED_SEES: '1' },
  });
  const cancellation = new CancellationTokenSource();
  const params = { requestId: 'dropped', image: picture(10) };
  const dropped = seeing.client.connection.sendRequest('gemma/encodeImage', params, cancellation.token);
  const refused = assert.rejects(dropped, { code: -32800 });
  await seeing.until(({ phase, layer, layers }) => phase === 'encoding' && layer === 9 && layers === 27);
  cancellation.cancel();
  await refused;
  assert.equal(await seeing.client.stop(), 0);
});

test('what does not fit is refused beforehand with numbers and what could be left out', async () => {
  const seeing = await Seeing.start({ initializationOptions: { contextLength: 512 } });
  const encoded = await seeing.encode({ image: picture(40) });
  const images = Array.from({ length: 40 }, (_, i) => named(encoded, `${i}.png`));
  await assert.rejects(
    seeing.ask([user('What?', ...images)]),
    (error: { code: number; message: string; data: { offers: { kind: string; name: string }[] } }) => {
      assert.equal(error.code, ErrorCode.ContextFull);
      assert.match(error.message, /with its images takes 3\d\d tokens.*leaves room for 256.*fewer images/);
      assert.deepEqual([error.data.offers.length, error.data.offers[0]!.kind], [40, 'image']);
      return true;
    },
  );
  const { overLong } = await seeing.preview([user('What?', ...images)]);
  assert.ok(overLong && overLong.needed > overLong.available);
  assert.equal(await seeing.client.stop(), 0);
});

test('a file on disk, or its bytes, is decoded to the same picture', async () => {
  const file = path.join(import.meta.dirname, '../fixtures/images/rotated.jpg');
  const seeing = await Seeing.start();
  const named = await seeing.encode({ image: { kind: 'file', path: file } });
  assert.deepEqual([named.width, named.height], [16, 24]);
  const bytes = new Uint8Array(readFileSync(file));
  const sent = await seeing.encode({ image: { kind: 'bytes', bytes } });
  assert.deepEqual([sent.id, sent.cached], [named.id, true]);
  await assert.rejects(seeing.encode({ image: { kind: 'bytes', bytes: bytes.subarray(0, 500) } }), {
    code: ErrorCode.Image,
    message: /cannot be decoded/,
  });
  await assert.rejects(seeing.encode({ image: { kind: 'file', path: `${file}.none` } }), {
    code: ErrorCode.Image,
    message: /does not exist/,
  });
  assert.equal(await seeing.client.stop(), 0);
});

test('pixels that are none, and pictures that are not there, are refused with a sentence', async () => {
  const seeing = await Seeing.start();
  const wrong = async (image: object, code: number, reason: RegExp) =>
    assert.rejects(seeing.encode({ image } as never), (error: { code: number; message: string }) => {
      assert.equal(error.code, code);
      assert.match(error.message, reason);
      return true;
    });
  await wrong({ ...picture(1), width: 41 }, ErrorCode.Image, /sent 4800 bytes; 41 x 30 pixels have 4920/);
  await wrong({ ...picture(1), width: 0 }, ErrorCode.Image, /no pixels/);
  await wrong({ ...picture(1), width: 30_000, height: 30_000 }, ErrorCode.Image, /at most 50 million/);
  await wrong({ ...picture(1), rgba: 'none' }, -32602, /rgba must be bytes/);
  await assert.rejects(seeing.ask([user('What?', { id: 'x', name: 'Pasted' })]), {
    code: ErrorCode.ImageUnknown,
    message: /“Pasted” is no longer at hand/,
  });
  assert.ok((await seeing.ask([user('And in words?')])).generatedTokens > 0);
  assert.equal(await seeing.client.stop(), 0);
});

test('a model that cannot see says so beforehand, and answers questions without pictures', async () => {
  const blind = path.join(folder, 'blind');
  mkdirSync(blind);
  copyFileSync(modelPath, path.join(blind, 'model.gguf'));
  const seeing = await Seeing.start({
    initializationOptions: { modelPath: path.join(blind, 'model.gguf') },
  });
  await assert.rejects(seeing.encode({ image: picture(40) }), {
    code: ErrorCode.NoImageTower,
    message: /no image tower.*mmproj/,
  });
  await assert.rejects(seeing.ask([user('What?', { id: 'x', name: 'Pasted' })]), {
    code: ErrorCode.NoImageTower,
  });
  const { images } = await seeing.status();
  assert.equal(images?.available, false);
  assert.match(images?.reason ?? '', /no image tower/);
  assert.ok((await seeing.ask([user('And in words?')])).generatedTokens > 0);

  await seeing.client.connection.sendRequest('gemma/selectModel', {
    path: path.join(blind, 'model.gguf'),
    mmprojPath: TOWER_FILE,
  });
  assert.equal((await seeing.encode({ image: picture(40) })).tokens, IMAGE_TOKENS);
  assert.equal((await seeing.status()).images?.available, true);
  assert.equal(await seeing.client.stop(), 0);
});
