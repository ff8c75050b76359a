/**
 * What a picture file is and how large, from its first bytes and before anything decodes it: the limits must hold for a
 * file that would take gigabytes. Bounds are checked; nothing here trusts a length in the file.
 */

export const MAX_PICTURE_FILE_BYTES = 64 * 2 ** 20;

export type ImageType = 'png' | 'jpeg' | 'webp' | 'gif' | 'bmp' | 'svg';

export interface ImageHeader {
  readonly type: ImageType;
  /** In pixels as stored, before any rotation; for SVG its own size in CSS pixels. 0 where the file does not say. */
  readonly width: number;
  readonly height: number;
}

/** A picture that cannot be used; the message is a sentence for a person. */
export class ImageProblem extends Error {}

/** Decoded for a moment in full: 256 MB of the page's memory. */
export const MAX_PIXELS = 64_000_000;
const MAX_SIDE = 16_384;
const MIN_SIDE = 4;
const MAX_SVG_BYTES = 8 * 2 ** 20;

export const MIME_TYPES: Readonly<Record<ImageType, string>> = {
  png: 'image/png',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  bmp: 'image/bmp',
  svg: 'image/svg+xml',
};

/** @throws ImageProblem that names `name` when the file is no picture, or one beyond the limits */
export function checkImage(name: string, bytes: Uint8Array): ImageHeader {
  if (bytes.length === 0) throw new ImageProblem(`“${name}” is empty: the file has 0 bytes.`);
  if (bytes.length > MAX_PICTURE_FILE_BYTES)
    throw new ImageProblem(`“${name}” is larger than 64 MiB. Save it smaller, or take a screenshot of it.`);
  const header = readImageHeader(bytes);
  if (header === null)
    throw new ImageProblem(
      `“${name}” is not a picture that can be read. PNG, JPEG, WebP, GIF, BMP and SVG can.`,
    );
  if (header.type === 'svg') return checkSvg(name, bytes, header);
  const { width, height } = header;
  if (width === 0 || height === 0)
    throw new ImageProblem(`“${name}” is damaged: its header says no size. Save it again.`);
  const size = `${grouped(width)} × ${grouped(height)} pixels`;
  if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE)
    throw new ImageProblem(
      `“${name}” has ${size}; at most 64 million, and 16,384 on a side, can be read. Save it smaller, or attach a part of it.`,
    );
  if (Math.min(width, height) < MIN_SIDE)
    throw new ImageProblem(`“${name}” has ${size}: too few to show anything.`);
  return header;
}

function checkSvg(name: string, bytes: Uint8Array, header: ImageHeader): ImageHeader {
  if (bytes.length > MAX_SVG_BYTES)
    throw new ImageProblem(`“${name}” is an SVG of more than 8 MiB. Export it as PNG, then attach that.`);
  if (/<!ENTITY/i.test(svgText(bytes)))
    throw new ImageProblem(
      `“${name}” declares XML entities, which are not expanded here. Export it as plain SVG or as PNG.`,
    );
  return header;
}

/** What the first bytes say; null when they are of no format that we read. */
export function readImageHeader(bytes: Uint8Array): ImageHeader | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (
    readPng(view) ?? readJpeg(view) ?? readGif(view) ?? readWebp(view) ?? readBmp(view) ?? readSvg(bytes)
  );
}

function readPng(view: DataView): ImageHeader | null {
  if (!startsWith(view, 0, '\x89PNG\r\n\x1a\n')) return null;
  if (view.byteLength < 24 || !startsWith(view, 12, 'IHDR')) return { type: 'png', width: 0, height: 0 };
  return { type: 'png', width: view.getUint32(16), height: view.getUint32(20) };
}

/** Walks the segments to the first frame header (ITU T.81, B.2.2). */
function readJpeg(view: DataView): ImageHeader | null {
  if (!startsWith(view, 0, '\xff\xd8\xff')) return null;
  let at = 2;
  while (at + 9 <= view.byteLength && view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { type: 'jpeg', width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    at += 2 + view.getUint16(at + 2);
  }
  return { type: 'jpeg', width: 0, height: 0 };
}

function readGif(view: DataView): ImageHeader | null {
  if (!startsWith(view, 0, 'GIF87a') && !startsWith(view, 0, 'GIF89a')) return null;
  if (view.byteLength < 10) return { type: 'gif', width: 0, height: 0 };
  return { type: 'gif', width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

function readWebp(view: DataView): ImageHeader | null {
  if (!startsWith(view, 0, 'RIFF') || !startsWith(view, 8, 'WEBP')) return null;
  const sized = (width: number, height: number): ImageHeader => ({ type: 'webp', width, height });
  if (view.byteLength < 30) return sized(0, 0);
  if (startsWith(view, 12, 'VP8X')) return sized(1 + uint24(view, 24), 1 + uint24(view, 27));
  if (startsWith(view, 12, 'VP8L')) {
    const bits = view.getUint32(21, true);
    return sized(1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff));
  }
  if (startsWith(view, 12, 'VP8 '))
    return sized(view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff);
  return sized(0, 0);
}

function readBmp(view: DataView): ImageHeader | null {
  if (!startsWith(view, 0, 'BM') || view.byteLength < 26) return null;
  const headerBytes = view.getUint32(14, true);
  if (headerBytes === 12)
    return { type: 'bmp', width: view.getUint16(18, true), height: view.getUint16(20, true) };
  if (headerBytes < 40 || headerBytes > 124) return null;
  const [width, height] = [view.getInt32(18, true), view.getInt32(22, true)];
  // A negative height means rows from the top.
  return { type: 'bmp', width: Math.abs(width), height: Math.abs(height) };
}

/** How far into the text the root element is looked for. */
const SVG_PROLOGUE_LENGTH = 64 * 1024;

function readSvg(bytes: Uint8Array): ImageHeader | null {
  const text = svgText(bytes.subarray(0, SVG_PROLOGUE_LENGTH));
  if (!/^\s*</.test(text)) return null;
  const start = text.search(/<(?:\w+:)?svg[\s>]/);
  if (start < 0 || !isPrologue(text.slice(0, start))) return null;
  const end = text.indexOf('>', start);
  const tag = text.slice(start, end < 0 ? start + 4096 : end);
  const [width, height] = [cssPixels(attribute(tag, 'width')), cssPixels(attribute(tag, 'height'))];
  if (width > 0 && height > 0) return { type: 'svg', width, height };
  const box = (attribute(tag, 'viewBox') ?? '')
    .trim()
    .split(/[\s,]+/)
    .map(Number);
  const [, , boxWidth = 0, boxHeight = 0] = box;
  return boxWidth > 0 && boxHeight > 0
    ? { type: 'svg', width: boxWidth, height: boxHeight }
    : { type: 'svg', width: 0, height: 0 };
}

/** Nothing but what XML allows before the root element: a web page that contains an SVG is not one. */
function isPrologue(text: string): boolean {
  return !/<(?![?!])/.test(text.replace(/<!--[\s\S]*?-->/g, ''));
}

function svgText(bytes: Uint8Array): string {
  const utf16 =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? 'utf-16le'
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? 'utf-16be'
        : 'utf-8';
  return new TextDecoder(utf16).decode(bytes);
}

function attribute(tag: string, name: string): string | undefined {
  return new RegExp(`\\s${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`)
    .exec(tag)
    ?.slice(1)
    .find((value) => value !== undefined);
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  px: 1,
  pt: 4 / 3,
  pc: 16,
  mm: 96 / 25.4,
  cm: 96 / 2.54,
  in: 96,
};

/** 0 for anything but an absolute length. */
function cssPixels(length: string | undefined): number {
  const match = /^\s*([\d.]{1,12})\s*([a-z]{0,2})\s*$/.exec(length ?? '');
  return match === null ? 0 : Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0) || 0;
}

function startsWith(view: DataView, at: number, ascii: string): boolean {
  if (view.byteLength < at + ascii.length) return false;
  return [...ascii].every((character, i) => view.getUint8(at + i) === character.charCodeAt(0));
}

function uint24(view: DataView, at: number): number {
  return view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
