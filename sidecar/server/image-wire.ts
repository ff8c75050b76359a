/** gemma/encodeImage between wire and session. */
import { type RgbImage, rgbFromRgba } from '../engine/vision/rgb-image.ts';
import { decodeImage, decodeImageFile } from '../images/decode-image.ts';
import { record, string } from './chat-wire.ts';
import { InvalidParamsError } from './errors.ts';

export interface EncodeCall {
  readonly requestId: string;
  readonly details: boolean;
  /** Rejects with ImageError, or the signal's reason. */
  readonly decode: (signal: AbortSignal) => Promise<RgbImage>;
}

const MAX_PATH = 32_768;

/** @throws InvalidParamsError */
export function encodeImageFromWire(params: unknown): EncodeCall {
  const { requestId, image, details } = record(params, 'params');
  return {
    requestId: string(requestId, 'requestId', 256),
    details: details === true,
    decode: imageFromWire(image),
  };
}

function imageFromWire(value: unknown): EncodeCall['decode'] {
  const { kind, width, height, rgba, bytes, path } = record(value, 'image');
  switch (kind) {
    case 'pixels': {
      if (typeof width !== 'number' || typeof height !== 'number')
        throw new InvalidParamsError('image.width and image.height must be numbers.');
      const pixels = binary(rgba, 'image.rgba');
      return async () => rgbFromRgba(width, height, pixels);
    }
    case 'bytes': {
      const file = binary(bytes, 'image.bytes');
      return (signal) => decodeImage('The picture', file, signal);
    }
    case 'file': {
      const file = string(path, 'image.path', MAX_PATH);
      return (signal) => decodeImageFile(file, signal);
    }
    default:
      throw new InvalidParamsError('image.kind is not a kind.');
  }
}

function binary(value: unknown, what: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new InvalidParamsError(`${what} must be bytes, which only a packed message carries.`);
}
