/**
 * Image files to pixels where no browser is at hand: the command line, and clients of the language server that send files.
 *
 * Size and kind are checked from the header first. Decoding runs on a thread of its own, which is ended when it takes too long
 * or too much memory, or when nobody wants its pixels any more.
 */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  checkImageSize,
  ImageError,
  oriented,
  type RgbImage,
  rgbFromRgba,
} from '../engine/vision/rgb-image.ts';
import {
  checkImage,
  ImageProblem,
  type ImageType,
  MAX_PICTURE_FILE_BYTES,
} from '../protocol/image-header.ts';
import { exifOrientation } from './exif.ts';

export interface DecodeTask {
  readonly type: ImageType;
  readonly bytes: Uint8Array;
}
export type DecodeReply =
  | { readonly width: number; readonly height: number; readonly rgba: Uint8Array<ArrayBuffer> }
  | { readonly problem: string };

const MOST_SECONDS = 20;
/** Of JavaScript objects; pixels lie outside, and are bounded by their number. */
const HEAP_MIB = 512;

/** @throws ImageError with a sentence that names the file, or the signal's reason */
export async function decodeImageFile(file: string, signal: AbortSignal): Promise<RgbImage> {
  return decodeImage(path.basename(file), await readImageFile(file), signal);
}

/**
 * `name` is for a person. EXIF orientation is applied, alpha laid over white, colour profiles are not looked at.
 *
 * @throws ImageError with a sentence that names the file, or the signal's reason
 */
export async function decodeImage(name: string, bytes: Uint8Array, signal: AbortSignal): Promise<RgbImage> {
  signal.throwIfAborted();
  const { type, width, height } = checkHeader(name, bytes);
  if (type !== 'svg') checkImageSize(width, height);
  const reply = await runWorker({ type, bytes: Uint8Array.from(bytes) }, name, signal);
  if ('problem' in reply) throw damaged(name, reply.problem);
  if (type !== 'svg' && (reply.width !== width || reply.height !== height))
    throw damaged(name, 'its pixels are not those that its header announces');
  const image = rgbFromRgba(reply.width, reply.height, reply.rgba);
  return type === 'png' || type === 'jpeg' || type === 'webp'
    ? oriented(image, exifOrientation(type, bytes))
    : image;
}

async function readImageFile(file: string): Promise<Uint8Array> {
  const name = path.basename(file);
  try {
    const { size } = await fs.stat(file);
    if (size > MAX_PICTURE_FILE_BYTES)
      throw new ImageError(`“${name}” is larger than 64 MiB. Save it smaller, or take a screenshot of it.`);
    return await fs.readFile(file);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: 'does not exist',
      EISDIR: 'is a folder',
      EACCES: 'cannot be read: permission is denied',
    };
    throw new ImageError(
      `The image ${file} ${reasons[String(error.code)] ?? `cannot be read: ${error.message}`}.`,
    );
  }
}

function checkHeader(name: string, bytes: Uint8Array) {
  try {
    return checkImage(name, bytes);
  } catch (error) {
    throw error instanceof ImageProblem ? new ImageError(error.message) : error;
  }
}

function damaged(name: string, what: string): ImageError {
  const detail = what.replace(/\s+/g, ' ').trim().slice(0, 200).replace(/\.$/, '');
  return new ImageError(
    `“${name}” cannot be decoded: it is damaged, incomplete or of a rare kind (${detail}). Save it again as PNG.`,
  );
}

function runWorker(task: DecodeTask, name: string, signal: AbortSignal): Promise<DecodeReply> {
  const file = import.meta.url.endsWith('.ts') ? './decode-worker.ts' : './decode-worker.js';
  const worker = new Worker(new URL(file, import.meta.url), {
    workerData: task,
    transferList: [task.bytes.buffer as ArrayBuffer],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
    // Decoders that were compiled from C print warnings about files.
    stdout: true,
    stderr: true,
  });
  return new Promise<DecodeReply>((resolve, reject) => {
    const tooLong = () =>
      reject(
        new ImageError(
          `“${name}” takes more than ${MOST_SECONDS} seconds to decode. Save it smaller, or as PNG.`,
        ),
      );
    const timer = setTimeout(tooLong, 1000 * MOST_SECONDS);
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort);
    worker.once('message', resolve);
    worker.once('error', (error: Error) => resolve({ problem: error.message }));
    worker.once('exit', () => resolve({ problem: 'the decoder ended' }));
    worker.once('exit', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    });
  }).finally(() => worker.terminate());
}
