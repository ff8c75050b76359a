/** `logits`: what the model expects after a list of tokens. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { NoImageTower } from '../engine/engine.ts';
import { type GemmaEngine, logSumExp } from '../engine/gemma-engine.ts';
import { topLogits } from '../engine/sampler/top-k.ts';
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { type ImageEmbedding, imageIds, type PromptImage } from '../engine/vision/prompt-image.ts';
import { decodeImageFile } from '../images/decode-image.ts';
import { type Command, UsageError } from './command.ts';
import { littleEndian } from './little-endian.ts';
import { integerOption, parseIds, requiredText, textList, textOption } from './options.ts';

const DEFAULT_TOP = 10;

export const command: Command = {
  name: 'logits',
  summary: 'Next-token logits after a list of tokens',
  usage: '--tokens 2,10,11 [--image FILE]... [--top K] [--out FILE.f32]',
  options: {
    tokens: { type: 'string' },
    image: { type: 'string', multiple: true },
    top: { type: 'string' },
    out: { type: 'string' },
  },
  async run(context) {
    const { values } = context;
    if (context.positionals.length > 0) {
      throw new UsageError(`Unexpected argument "${context.positionals[0]}"`);
    }
    const ids = parseIds([requiredText(values, 'tokens')], '--tokens');
    const count = integerOption(values, 'top', { least: 1 }) ?? DEFAULT_TOP;
    const out = textOption(values, 'out');
    const engine = await context.loadEngine({ store: null });
    try {
      const embeddings = await encodeFiles(engine, textList(values, 'image'), context.signal);
      const prompt = withImages(engine.tokenizer, ids, embeddings);
      const logits = await engine.logits(prompt.ids, 1, context.signal, prompt.images);
      if (out !== undefined) writeFileSync(out, littleEndian(logits));
      const best = topLogits(logits, count);
      const top = Array.from(best.ids, (id, i): [number, number] => [id, best.values[i]!]);
      for (const [id, value] of top) {
        context.print(`${id}\t${value.toFixed(4)}\t${JSON.stringify(engine.tokenizer.piece(id))}\n`);
      }
      context.result({ top, logsumexp: logSumExp(logits) });
    } finally {
      await engine.dispose();
    }
  },
};

async function encodeFiles(
  engine: GemmaEngine,
  files: readonly string[],
  signal: AbortSignal,
): Promise<readonly ImageEmbedding[]> {
  const embeddings: ImageEmbedding[] = [];
  for (const file of files)
    embeddings.push(await engine.encodeImage(await decodeImageFile(path.resolve(file), signal), { signal }));
  return embeddings;
}

/**
 * Each image's rows behind a <start_of_image> of the list, in order. A list without one gets the images behind its first
 * token, as a chat prompt shows them.
 */
function withImages(
  tokenizer: Tokenizer,
  ids: readonly number[],
  embeddings: readonly ImageEmbedding[],
): { readonly ids: readonly number[]; readonly images: readonly PromptImage[] } {
  if (embeddings.length === 0) return { ids, images: [] };
  const { startOfImage, endOfImage } = tokenizer.special;
  if (startOfImage === null || endOfImage === null) throw new NoImageTower();
  const given = ids.filter((id) => id === startOfImage).length;
  if (given > 0 && given !== embeddings.length)
    throw new UsageError(`--tokens has ${given} <start_of_image>, but there are ${embeddings.length} images`);
  const blank = [...tokenizer.encode('\n\n')];
  const frame = (): number[] => [...blank, startOfImage, endOfImage, ...blank];
  const list = given > 0 ? ids : [ids[0]!, ...embeddings.flatMap(frame), ...ids.slice(1)];
  const result: number[] = [];
  const images: PromptImage[] = [];
  for (const id of list) {
    result.push(id);
    const embedding = embeddings[images.length];
    if (id !== startOfImage || embedding === undefined) continue;
    images.push({ position: result.length, embedding });
    result.push(...imageIds(embedding));
  }
  return { ids: result, images };
}
