/** From the bytes of a picture file to pixels, by the browser's own decoders. Nothing is loaded from anywhere. */

import { checkImage, type ImageHeader, ImageProblem, MIME_TYPES } from '../sidecar/protocol/image-header.ts';
import { drawDiagram } from './draw-diagram.ts';
import { type DecodedPicture, type DiagramLanguage, MAX_SENT_PIXELS } from './messages.ts';

const THUMBNAIL_SIDE = 192;
/** Vectors are drawn at twice what the image tower sees, so that its own shrinking smooths them. */
const SVG_SIDE = 1792;

/** @throws ImageProblem with a sentence that names the file */
export async function decodePicture(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<DecodedPicture> {
  const header = checkImage(name, bytes);
  return header.type === 'svg' ? drawSvg(name, bytes, header, []) : drawBitmap(name, bytes, header);
}

/** @throws ImageProblem that says why the source of a diagram cannot be drawn */
export async function drawSource(
  name: string,
  language: DiagramLanguage,
  source: string,
): Promise<DecodedPicture> {
  const drawing = await drawDiagram(name, language, source);
  const svg = new TextEncoder().encode(drawing.svg);
  return drawSvg(name, svg, checkImage(name, svg), drawing.notes);
}

/** The part `region` of pixels as a small PNG. */
export function thumbnailOf(source: CanvasImageSource, from: Rectangle): Promise<ArrayBuffer> {
  const scale = Math.min(1, THUMBNAIL_SIDE / Math.max(from.width, from.height));
  const canvas = new OffscreenCanvas(side(from.width * scale), side(from.height * scale));
  const context = contextOf(canvas);
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, from.x, from.y, from.width, from.height, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: 'image/png' }).then((blob) => blob.arrayBuffer());
}

export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

async function drawBitmap(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  { type }: ImageHeader,
): Promise<DecodedPicture> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes], { type: MIME_TYPES[type] }), {
      imageOrientation: 'from-image',
      premultiplyAlpha: 'none',
    });
  } catch {
    throw damaged(name);
  }
  try {
    return await pixelsOf(name, bitmap, bitmap.width, bitmap.height, []);
  } finally {
    bitmap.close();
  }
}

/**
 * An SVG becomes pixels only inside an image element, where the browser runs no script of it and loads nothing for it.
 */
async function drawSvg(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  { width, height }: ImageHeader,
  notes: readonly string[],
): Promise<DecodedPicture> {
  const drawn = (text: BlobPart) => loadImage(name, new Blob([text], { type: MIME_TYPES.svg }));
  const image = await drawn(bytes);
  const [naturalWidth, naturalHeight] =
    width > 0 ? [width, height] : [image.naturalWidth || 300, image.naturalHeight || 150];
  const scale = SVG_SIDE / Math.max(naturalWidth, naturalHeight);
  const [drawnWidth, drawnHeight] = [side(naturalWidth * scale), side(naturalHeight * scale)];
  try {
    return await pixelsOf(name, image, drawnWidth, drawnHeight, notes);
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== 'SecurityError') throw error;
    // Pixels of an SVG with HTML in it are withheld from scripts.
    const plain = await drawn(withoutHtml(new TextDecoder().decode(bytes)));
    return pixelsOf(name, plain, drawnWidth, drawnHeight, [
      ...notes,
      'Labels that the SVG holds as HTML are not shown.',
    ]);
  }
}

async function loadImage(name: string, blob: Blob): Promise<HTMLImageElement> {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
    return image;
  } catch {
    throw damaged(name);
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/** Drawing programs put a plain text beside each HTML label, which is shown once the label is gone. */
function withoutHtml(svg: string): string {
  const parsed = new DOMParser().parseFromString(svg, 'image/svg+xml');
  for (const label of [...parsed.getElementsByTagNameNS('*', 'foreignObject')]) label.remove();
  return new XMLSerializer().serializeToString(parsed);
}

async function pixelsOf(
  name: string,
  source: CanvasImageSource,
  width: number,
  height: number,
  notes: readonly string[],
): Promise<DecodedPicture> {
  const scale = Math.min(1, Math.sqrt(MAX_SENT_PIXELS / (width * height)));
  const canvas = new OffscreenCanvas(Math.floor(width * scale) || 1, Math.floor(height * scale) || 1);
  const context = contextOf(canvas);
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const shrunk = `Shrunk from ${width.toLocaleString('en-US')} × ${height.toLocaleString('en-US')} pixels before it is read.`;
  return {
    name,
    width: canvas.width,
    height: canvas.height,
    rgba: data.buffer,
    thumbnail: await thumbnailOf(canvas, { x: 0, y: 0, width: canvas.width, height: canvas.height }),
    notes: scale < 1 ? [...notes, shrunk] : notes,
  };
}

function contextOf(canvas: OffscreenCanvas): OffscreenCanvasRenderingContext2D {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (context === null) throw new ImageProblem('The editor has no memory left to draw the picture.');
  return context;
}

function damaged(name: string): ImageProblem {
  return new ImageProblem(
    `“${name}” is damaged or incomplete and cannot be shown. Save it again, then attach it.`,
  );
}

function side(length: number): number {
  return Math.max(1, Math.round(length));
}
