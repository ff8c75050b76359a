/** Image files to pixels: against what Pillow made of the same files, and what hostile files get instead. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { ImageError, type RgbImage } from '../../sidecar/engine/vision/rgb-image.ts';
import { decodeImage, decodeImageFile } from '../../sidecar/images/decode-image.ts';
import { temporaryFolder } from '../support/repository.ts';
import { ENTITY_BOMB, png } from '../webview/picture-files.ts';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/images');
interface Expected {
  readonly width: number;
  readonly height: number;
  /** Base64. */
  readonly rgb: string;
  /** The most that a colour may differ; 0 for formats without loss. */
  readonly tolerance: number;
}
const EXPECTED = JSON.parse(readFileSync(path.join(FIXTURES, 'expected.json'), 'utf8')) as Readonly<
  Record<string, Expected>
>;
const never = new AbortController().signal;
const fixture = (name: string) => new Uint8Array(readFileSync(path.join(FIXTURES, name)));
const text = (value: string) => new TextEncoder().encode(value);

describe('pixels are those that Pillow reads', () => {
  for (const [name, { width, height, rgb, tolerance }] of Object.entries(EXPECTED)) {
    it(`from ${name}`, async () => {
      const image = await decodeImageFile(path.join(FIXTURES, name), never);
      assert.deepEqual([image.width, image.height], [width, height]);
      const expected = Buffer.from(rgb, 'base64');
      const worst = image.data.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
      assert.ok(worst <= tolerance, `differs by up to ${worst}`);
    });
  }
});

function pixel({ width, data }: RgbImage, x: number, y: number): number[] {
  return [...data.subarray(3 * (y * width + x), 3 * (y * width + x) + 3)];
}

describe('an SVG', () => {
  const svg = (content: string, size = 'width="200" height="100"') =>
    text(
      `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ${size}>${content}</svg>`,
    );
  const draw = (content: string, size?: string) => decodeImage('a.svg', svg(content, size), never);

  it('is drawn on white, its longer side 1,792 pixels', async () => {
    const image = await draw('<rect width="100" height="100" fill="#0000ff"/>');
    assert.deepEqual([image.width, image.height], [1792, 896]);
    assert.deepEqual(pixel(image, 100, 100), [0, 0, 255]);
    assert.deepEqual(pixel(image, 1700, 100), [255, 255, 255]);
    const tall = await draw('<rect width="1" height="1"/>', 'viewBox="0 0 50 100"');
    assert.deepEqual([tall.width, tall.height], [896, 1792]);
  });

  it('runs nothing and loads nothing', async () => {
    const secret = path.join(temporaryFolder(), 'secret.png');
    writeFileSync(secret, fixture('rgb.png'));
    const image = await draw(
      `<script>globalThis.hit = 1</script><image width="200" height="100" href="file://${secret}"/>` +
        `<image width="200" height="100" xlink:href="${secret}"/>` +
        '<image width="200" height="100" href="http://127.0.0.1:9/a.png"/>' +
        '<style>@import url("http://127.0.0.1:9/a.css");</style>',
    );
    assert.ok(image.data.every((value) => value === 255));
    assert.equal('hit' in globalThis, false);
  });

  it('with entities, or references that multiply, is refused', async () => {
    await assert.rejects(decodeImage('bomb.svg', text(ENTITY_BOMB), never), /declares XML entities/);
    const levels = Array.from(
      { length: 12 },
      (_, i) => `<g id="l${i + 1}">${`<use xlink:href="#l${i}"/>`.repeat(10)}</g>`,
    );
    const laughs = `<defs><g id="l0"><rect width="9" height="9"/></g>${levels.join('')}</defs><use xlink:href="#l12"/>`;
    await assert.rejects(draw(laughs), ImageError);
  });
});

/** A header that promises more than is read, or than is there. */
const promising = (width: number, height: number) => {
  const file = Uint8Array.from(fixture('rgb.png'));
  const view = new DataView(file.buffer);
  view.setUint32(16, width);
  view.setUint32(20, height);
  return file;
};

describe('a file that cannot be read gets one sentence that names it', () => {
  const cases: Readonly<Record<string, readonly [Uint8Array, RegExp]>> = {
    'of no bytes': [new Uint8Array(0), /“x” is empty/],
    'that is no image': [text('#!/bin/sh'), /“x” is not a picture/],
    'that is a web page with an SVG in it': [text('<html><svg/></html>'), /“x” is not a picture/],
    'of 30000 x 30000': [promising(30_000, 30_000), /“x” has 30,000 × 30,000 pixels; at most/],
    'of more than 50 million pixels': [
      promising(10_000, 6_000),
      /60000000|10000 x 6000 pixels; at most 50 million/,
    ],
    'of 1 x 1': [png(1, 1, () => [1, 2, 3, 255]), /“x” has 1 × 1 pixels: too few/],
    'cut short, PNG': [fixture('rgb.png').subarray(0, 100), /“x” cannot be decoded: it is damaged/],
    'cut short, JPEG': [fixture('baseline.jpg').subarray(0, 640), /“x” cannot be decoded/],
    'cut short, GIF': [fixture('animated.gif').subarray(0, 60), /“x” cannot be decoded/],
    'cut short, WebP': [fixture('lossless.webp').subarray(0, 50), /“x” cannot be decoded/],
    'cut short, BMP': [fixture('rgb24.bmp').subarray(0, 300), /“x” cannot be decoded/],
    'with a damaged check sum': [
      fixture('rgb.png').map((b, i) => (i === 60 ? b ^ 1 : b)),
      /“x” cannot be decoded/,
    ],
    'whose header says another size': [promising(20, 13), /“x” cannot be decoded/],
    'that is no XML behind its root element': [
      text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><a'),
      /“x” cannot be decoded/,
    ],
  };
  for (const [what, [bytes, sentence]] of Object.entries(cases)) {
    it(what, async () => {
      await assert.rejects(decodeImage('x', bytes, never), (error) => {
        assert.ok(error instanceof ImageError, String(error));
        assert.match(error.message, sentence);
        assert.match(error.message, /^[^\n]{10,400}\.$/);
        return true;
      });
    });
  }

  it('that is not there, or a folder', async () => {
    const folder = temporaryFolder();
    await assert.rejects(decodeImageFile(path.join(folder, 'no.png'), never), /no\.png does not exist\.$/);
    await assert.rejects(decodeImageFile(folder, never), /is a folder\.$/);
  });
});

it('decoding ends when nobody wants the pixels any more', async () => {
  const abort = new AbortController();
  const decoding = decodeImage('x.png', fixture('rgb.png'), abort.signal);
  abort.abort(new Error('enough'));
  await assert.rejects(decoding, /enough/);
});
