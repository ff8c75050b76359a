/** `encode`: what the image tower makes of an image. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { NoImageTower } from '../engine/engine.ts';
import { decodeImageFile } from '../images/decode-image.ts';
import { type Command, UsageError } from './command.ts';
import { imageProgressLine } from './images.ts';
import { littleEndian } from './little-endian.ts';
import { flag, textOption } from './options.ts';
import { ProgressLine } from './progress-line.ts';

export const command: Command = {
  name: 'encode',
  summary: 'Soft tokens of an image, F32 [tokens][width]',
  usage: 'IMAGE [--out FILE.f32] [--letterbox]',
  options: { out: { type: 'string' }, letterbox: { type: 'boolean' } },
  async run(context) {
    const { values, signal } = context;
    const [file, unexpected] = context.positionals;
    if (file === undefined) throw new UsageError('encode needs an image file');
    if (unexpected !== undefined) throw new UsageError(`Unexpected argument "${unexpected}"`);
    const out = textOption(values, 'out');
    const image = await decodeImageFile(path.resolve(file), signal);
    const line = new ProgressLine(process.stderr);
    const engine = await context.loadEngine();
    try {
      if (engine.imageTower === null) throw new NoImageTower(engine.imageProblem ?? undefined);
      const started = performance.now();
      const {
        key,
        tokens,
        values: soft,
        cached,
      } = await engine.encodeImage(image, {
        letterbox: flag(values, 'letterbox'),
        signal,
        onProgress: (progress) => line.show(imageProgressLine(progress)),
      });
      line.clear();
      const ms = performance.now() - started;
      const width = soft.length / tokens;
      if (out !== undefined) writeFileSync(out, littleEndian(soft));
      context.print(
        `${image.width} x ${image.height} pixels: ${tokens} tokens of ${width}, ${cached ? 'from disk' : `${(ms / 1000).toFixed(2)} s`}\n`,
      );
      context.result({
        tokens,
        width,
        ms,
        cached,
        key,
        image_width: image.width,
        image_height: image.height,
      });
    } finally {
      line.clear();
      await engine.dispose();
    }
  },
};
