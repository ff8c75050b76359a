/** From the bytes of a file whose header was checked to pixels. Runs on a thread of its own: see decode-worker.ts. */
import webpModule from '@jsquash/webp/codec/dec/webp_dec.js';
import { initWasm, Resvg } from '@resvg/resvg-wasm';
import { decode as decodeJpeg } from 'jpeg-js';
import { PNG } from 'pngjs';
import type { ImageType } from '../protocol/image-header.ts';
import { type Bitmap, decodeBmp } from './bmp.ts';
import { boundedWasm } from './bounded-wasm.ts';
import { readCodec } from './codec-files.ts';
import { systemFonts } from './fonts.ts';
import { decodeGif } from './gif.ts';
import { firstWebpFrame } from './webp-frame.ts';

const MIB = 2 ** 20;
/** jpeg-js counts coefficients and planes; a photograph of 50 million pixels stays below. */
const JPEG_MIB = 1024;
const WASM_BYTES = 768 * MIB;
/** Vectors are drawn at twice what a full-size tower sees, so that its own shrinking smooths them. */
const SVG_SIDE = 1792;

/** Throws whatever the decoder throws for a damaged file. */
export async function decodePixels(type: ImageType, bytes: Uint8Array): Promise<Bitmap> {
  switch (type) {
    case 'png': {
      const { width, height, data } = PNG.sync.read(Buffer.from(bytes));
      return { width, height, rgba: data };
    }
    case 'jpeg': {
      const options = { useTArray: true, tolerantDecoding: false, maxMemoryUsageInMB: JPEG_MIB } as const;
      const { width, height, data } = decodeJpeg(bytes, options);
      return { width, height, rgba: data };
    }
    case 'gif':
      return decodeGif(bytes);
    case 'bmp':
      return decodeBmp(bytes);
    case 'webp':
      return decodeWebp(bytes);
    case 'svg':
      return drawSvg(bytes);
    default:
      return type satisfies never;
  }
}

let webp: ReturnType<typeof webpModule> | null = null;

async function decodeWebp(bytes: Uint8Array): Promise<Bitmap> {
  const wasmBinary = boundedWasm(readCodec('webp'), WASM_BYTES).buffer;
  webp ??= webpModule({ noInitialRun: true, wasmBinary });
  const image = (await webp).decode(Uint8Array.from(firstWebpFrame(bytes)));
  if (!image) throw new Error('not decoded');
  return { width: image.width, height: image.height, rgba: new Uint8Array(image.data.buffer) };
}

let renderer: Promise<void> | null = null;

/**
 * Nothing outside the file is looked at: the renderer has no file system and no network, and scripts mean nothing to it.
 */
async function drawSvg(bytes: Uint8Array): Promise<Bitmap> {
  renderer ??= initWasm(boundedWasm(readCodec('svg'), WASM_BYTES));
  await renderer;
  const text = new TextDecoder(encodingOf(bytes)).decode(bytes);
  const fontBuffers = systemFonts();
  const own = new Resvg(text);
  const mode = own.width >= own.height ? 'width' : 'height';
  own.free();
  const drawing = new Resvg(text, {
    background: 'white',
    fitTo: { mode, value: SVG_SIDE },
    ...(fontBuffers.length > 0 && { font: { fontBuffers } }),
  });
  const image = drawing.render();
  return { width: image.width, height: image.height, rgba: image.pixels };
}

function encodingOf(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  return bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-8';
}
