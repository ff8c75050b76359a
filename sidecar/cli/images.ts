/** Images on the command line: files to pixels, pixels to what a prompt shows, with progress for a person. */
import path from 'node:path';
import type { EncodeProgress } from '../engine/image-encoder.ts';
import type { RgbImage } from '../engine/vision/rgb-image.ts';
import { decodeImageFile } from '../images/decode-image.ts';
import type { EncodedImage, ImageLibrary, ImageProgress, ImageReference } from '../session/image-library.ts';
import type { CliContext } from './command.ts';
import type { ProgressLine } from './progress-line.ts';

export interface AttachedImage extends ImageReference {
  readonly file: string;
  readonly encoded: EncodedImage;
}

/** Decodes every file before the first is encoded, which takes longer. */
export async function attachImages(
  files: readonly string[],
  library: ImageLibrary,
  readDetails: boolean,
  { log, signal }: Pick<CliContext, 'log' | 'signal'>,
  line: ProgressLine,
): Promise<readonly AttachedImage[]> {
  const decoded: { readonly file: string; readonly image: RgbImage }[] = [];
  for (const file of files) decoded.push({ file, image: await decodeImageFile(path.resolve(file), signal) });
  const attached: AttachedImage[] = [];
  for (const { file, image } of decoded) {
    const name = path.basename(file);
    const show = (progress: ImageProgress) => line.show(`${name}: ${imageProgressLine(progress)}`);
    let encoded = await library.encode(image, false, show, signal);
    const { details } = encoded;
    if (details) {
      const cost = `${details.crops} parts, ${details.tokens.toLocaleString('en-US')} more tokens${details.seconds === undefined ? '' : `, about ${Math.ceil(details.seconds)} s`}`;
      line.clear();
      if (readDetails) log(`Reading details of ${name}: ${cost}.`);
      else if (details.advised)
        log(`Small text in ${name} may not be readable; --read-details shows ${cost}.`);
    }
    const withDetails = readDetails && details !== undefined;
    if (withDetails) encoded = await library.encode(image, true, show, signal);
    line.clear();
    attached.push({ file, id: encoded.id, name, details: withDetails, encoded });
  }
  return attached;
}

export function imageProgressLine({
  phase,
  layer,
  layers,
  ...rest
}: EncodeProgress & Partial<Pick<ImageProgress, 'image' | 'images' | 'secondsLeft'>>): string {
  if (phase === 'waiting') return 'waiting';
  if (phase === 'loading') return 'loading the image tower';
  const { image = 1, images = 1, secondsLeft } = rest;
  const part = images > 1 ? `part ${image} of ${images}, ` : '';
  const left = secondsLeft === undefined ? '' : `, ${Math.ceil(secondsLeft)} s left`;
  return `${part}layer ${layer} of ${layers}${left}`;
}
