/** gemma/encodeImage between wire and session. */
import { ImageError, type RgbImage, rgbFromRgba } from '../engine/vision/rgb-image.ts';
import { record, string } from './chat-wire.ts';
import { InvalidParamsError } from './errors.ts';

export interface EncodeCall {
  readonly requestId: string;
  readonly image: RgbImage;
  readonly details: boolean;
}

/** @throws InvalidParamsError, or ImageError with a sentence for a person */
export function encodeImageFromWire(params: unknown): EncodeCall {
  const { requestId, image, details } = record(params, 'params');
  return {
    requestId: string(requestId, 'requestId', 256),
    image: imageFromWire(image),
    details: details === true,
  };
}

function imageFromWire(value: unknown): RgbImage {
  const { kind, width, height, rgba } = record(value, 'image');
  if (kind === 'bytes' || kind === 'file')
    throw new ImageError('This version takes pixels only; attach the image in the editor.');
  if (kind !== 'pixels') throw new InvalidParamsError('image.kind is not a kind.');
  if (!(rgba instanceof Uint8Array))
    throw new InvalidParamsError('image.rgba must be bytes, which only a packed message carries.');
  if (typeof width !== 'number' || typeof height !== 'number')
    throw new InvalidParamsError('image.width and image.height must be numbers.');
  return rgbFromRgba(width, height, rgba);
}
