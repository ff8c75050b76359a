import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { checkImage, ImageProblem, readImageHeader } from '../../sidecar/protocol/image-header.ts';
import { ENTITY_BOMB, png, twoColours } from '../webview/picture-files.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);
const text = (value: string) => new TextEncoder().encode(value);
const size = (file: Uint8Array) => {
  const header = readImageHeader(file);
  return header && [header.type, header.width, header.height];
};

describe('the header of a picture', () => {
  it('says type and size of every format', () => {
    assert.deepEqual(size(twoColours(40, 20)), ['png', 40, 20]);
    const jpeg = bytes(0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc2, 0, 11, 8, 0, 20, 0, 40, 1, 1, 0x11, 0);
    assert.deepEqual(size(jpeg), ['jpeg', 40, 20]);
    assert.deepEqual(size(Uint8Array.from([...text('GIF89a'), 40, 0, 20, 0])), ['gif', 40, 20]);
    const webp = (kind: string, ...rest: number[]) =>
      Uint8Array.from([...text('RIFF'), 0, 0, 0, 0, ...text(`WEBP${kind}`), ...rest, ...Array(16).fill(0)]);
    assert.deepEqual(size(webp('VP8X', 10, 0, 0, 0, 0, 0, 0, 0, 39, 0, 0, 19, 0, 0)), ['webp', 40, 20]);
    assert.deepEqual(size(webp('VP8L', 0, 0, 0, 0, 0x2f, 39, 0xc0, 4, 0)), ['webp', 40, 20]);
    assert.deepEqual(size(webp('VP8 ', 0, 0, 0, 0, 0, 0, 0, 0x9d, 1, 0x2a, 40, 0, 20, 0)), ['webp', 40, 20]);
    const bmp = Buffer.alloc(54);
    bmp.write('BM');
    bmp.writeUInt32LE(40, 14);
    bmp.writeInt32LE(40, 18);
    bmp.writeInt32LE(-20, 22);
    assert.deepEqual(size(bmp), ['bmp', 40, 20]);
    assert.deepEqual(size(text('<?xml version="1.0"?>\n<!-- <html> -->\n<svg width="40px" height="15pt">')), [
      'svg',
      40,
      20,
    ]);
    assert.deepEqual(size(text("<svg viewBox='0 0 40 20' width='100%'>")), ['svg', 40, 20]);
  });

  it('is none for text, a page with an SVG in it, and other files', () => {
    for (const other of ['', 'hello', '<html><svg width="4" height="4"></svg></html>', '%PDF-1.7', '{}'])
      assert.equal(size(text(other)), null);
  });

  it('is read within the file, whatever the bytes are', () => {
    const starts = ['\x89PNG\r\n\x1a\n', '\xff\xd8\xff', 'GIF89a', 'RIFF    WEBPVP8', 'BM', '<svg '];
    const file = fc.tuple(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 64 }));
    fc.assert(
      fc.property(file, ([start, rest]) => {
        const header = readImageHeader(Buffer.concat([Buffer.from(start, 'latin1'), rest]));
        assert.ok(header === null || (header.width >= 0 && header.height >= 0));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('a picture that cannot be used is refused before it is decoded, with a sentence,', () => {
  const refused = (file: Uint8Array, sentence: RegExp) =>
    assert.throws(
      () => checkImage('a.png', file),
      (error) => error instanceof ImageProblem && sentence.test(error.message),
    );

  it('when it is empty, none, or of no size', () => {
    refused(bytes(), /“a.png” is empty/);
    refused(text('not a picture'), /is not a picture that can be read/);
    refused(twoColours(40, 20).subarray(0, 12), /is damaged/);
  });

  it('when it is enormous or next to nothing', () => {
    const huge = png(4, 4, () => [0, 0, 0, 0], { width: 30_000, height: 30_000 });
    refused(huge, /30,000 × 30,000 pixels; at most 64 million/);
    refused(
      png(4, 4, () => [0, 0, 0, 0], { width: 40_000, height: 10 }),
      /16,384 on a side/,
    );
    refused(twoColours(1, 1), /1 × 1 pixels: too few/);
  });

  it('when it is an SVG with entities', () => {
    refused(text(ENTITY_BOMB), /declares XML entities/);
    const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(ENTITY_BOMB, 'utf16le')]);
    refused(utf16, /declares XML entities/);
  });
});
