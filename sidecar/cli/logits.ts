/** `logits`: what the model expects after a list of tokens. */
import { writeFileSync } from 'node:fs';
import { logSumExp } from '../engine/gemma-engine.ts';
import { topLogits } from '../engine/sampler/top-k.ts';
import { type Command, UsageError } from './command.ts';
import { integerOption, parseIds, requiredText, textList, textOption } from './options.ts';

const DEFAULT_TOP = 10;

export const command: Command = {
  name: 'logits',
  summary: 'Next-token logits after a list of tokens',
  usage: '--tokens 2,10,11 [--top K] [--out FILE.f32]',
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
    if (textList(values, 'image').length > 0) {
      throw new Error('--image is not available; this version reads text only.');
    }
    const ids = parseIds([requiredText(values, 'tokens')], '--tokens');
    const count = integerOption(values, 'top', { least: 1 }) ?? DEFAULT_TOP;
    const out = textOption(values, 'out');
    const engine = await context.loadEngine({ store: null });
    try {
      const logits = await engine.logits(ids, 1, context.signal);
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

function littleEndian(values: Float32Array): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  for (const [i, value] of values.entries()) bytes.setFloat32(4 * i, value, true);
  return new Uint8Array(bytes.buffer);
}
