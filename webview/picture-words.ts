/** The state and cost of a picture in words. */

import type { Encoding, Picture } from './picture.ts';
import { sentSize } from './picture.ts';
import { count, counted, duration } from './wording.ts';

/** "1,920 × 1,080". */
export function pictureSize(picture: Picture): string {
  const { width, height } = sentSize(picture);
  return `${count(width)} × ${count(height)}`;
}

/** One line under the name. */
export function pictureState({ encoding, details }: Picture): string {
  switch (encoding.state) {
    case 'stopped':
      return 'Not read';
    case 'waiting':
      return 'Waiting';
    case 'loading':
      return 'Loading the image tower';
    case 'encoding':
      return encodingLine(encoding);
    case 'ready':
      return `${counted(encoding.tokens, 'token')}${details ? ', with details' : ''}`;
    case 'failed':
      return encoding.message;
    default:
      return encoding satisfies never;
  }
}

/** 0..1 over all parts of the picture; null when nobody knows. */
export function encodingFraction(encoding: Encoding): number | null {
  if (encoding.state === 'ready') return 1;
  if (encoding.state !== 'encoding') return null;
  const { layer, layers, image, images } = encoding;
  return layers > 0 && images > 0 ? Math.min(1, (image - 1 + layer / layers) / images) : null;
}

function encodingLine({
  layer,
  layers,
  image,
  images,
  secondsLeft,
}: Encoding & { state: 'encoding' }): string {
  const part = images > 1 ? `Part ${image} of ${images}, layer` : 'Layer';
  const left = secondsLeft === undefined ? '' : `, ${duration(secondsLeft)} left`;
  return `${part} ${layer} of ${layers}${left}`;
}

/** What "Read details" costs, before it is chosen. */
export function detailsCost({ offer }: Picture): string | null {
  if (offer === undefined) return null;
  const { seconds = 0 } = offer;
  const time = seconds < 1 ? '' : `, about ${duration(seconds)}`;
  return `${counted(offer.crops, 'part')}, ${count(offer.tokens)} more tokens${time}`;
}
