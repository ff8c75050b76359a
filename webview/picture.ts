/** A picture of a question: what the state keeps of it. Its pixels are kept by the host, its thumbnail by the page. */

import type { ImageDetails, ImageProgress } from '../sidecar/protocol/methods.ts';

/** In pixels of the picture as it was attached. */
export interface Region {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export type Encoding =
  /** Ended before it was done: the answer was stopped, or the window closed. */
  | { readonly state: 'stopped' }
  /** Handed to the sidecar, which has said nothing yet or is loading the image tower. */
  | { readonly state: 'waiting' | 'loading' }
  | ({ readonly state: 'encoding' } & Pick<
      ImageProgress,
      'layer' | 'layers' | 'image' | 'images' | 'secondsLeft'
    >)
  | { readonly state: 'ready'; readonly imageId: string; readonly tokens: number }
  /** `blind`: because the model has no image tower. */
  | { readonly state: 'failed'; readonly message: string; readonly blind?: true };

export interface Picture {
  /** Unique in the conversation. */
  readonly key: string;
  readonly name: string;
  /** As it was attached. */
  readonly width: number;
  readonly height: number;
  /** Only this part of it is sent. */
  readonly region?: Region;
  /** Parts of it are sent as well, each as a picture of its own. */
  readonly details: boolean;
  /** What sending parts would cost, where it helps. */
  readonly offer?: ImageDetails;
  /** What a person should know about how it was read, in sentences. */
  readonly notes: readonly string[];
  readonly encoding: Encoding;
}

/** The size of what is sent. */
export function sentSize({ region, width, height }: Picture): {
  readonly width: number;
  readonly height: number;
} {
  return region ?? { width, height };
}

/** As it is after the window was closed: nothing is being encoded any more. */
export function withEncodingEnded(picture: Picture): Picture {
  const { state } = picture.encoding;
  return state === 'ready' || state === 'failed' ? picture : { ...picture, encoding: { state: 'stopped' } };
}

/** `name`, or with a number where a picture of that name is already there. */
export function distinctName(name: string, pictures: readonly Picture[]): string {
  const taken = new Set(pictures.map((picture) => picture.name));
  let distinct = name;
  for (let number = 2; taken.has(distinct); number++) distinct = `${name} (${number})`;
  return distinct;
}

/** `pictures` with the one of the same key replaced; the same list when there is none. */
export function withPicture(pictures: readonly Picture[], changed: Picture): readonly Picture[] {
  return pictures.some(({ key }) => key === changed.key)
    ? pictures.map((picture) => (picture.key === changed.key ? changed : picture))
    : pictures;
}

/** `region` in whole pixels within a picture of this size; null when nothing of it is left, or when it is all of it. */
export function clampRegion(region: Region, width: number, height: number): Region | null {
  const x = Math.max(0, Math.min(width, Math.round(region.x)));
  const y = Math.max(0, Math.min(height, Math.round(region.y)));
  const right = Math.max(x, Math.min(width, Math.round(region.x + region.width)));
  const bottom = Math.max(y, Math.min(height, Math.round(region.y + region.height)));
  const clamped = { x, y, width: right - x, height: bottom - y };
  if (clamped.width < 4 || clamped.height < 4) return null;
  return clamped.width === width && clamped.height === height ? null : clamped;
}
