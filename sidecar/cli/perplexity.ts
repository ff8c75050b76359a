/** `perplexity`: how well a model predicts a text. */
import { readFileSync } from 'node:fs';
import { type Command, UsageError } from './command.ts';
import { requiredText } from './options.ts';
import { ProgressLine } from './progress-line.ts';

const DEFAULT_CONTEXT = 512;

/**
 * As llama.cpp's `perplexity` measures it: the text is cut into pieces of the context's length, the first token of each
 * replaced by BOS, and only the second half of each piece counts, so that every counted token has half a context before
 * it. The standard error is that of the mean logarithm, times the perplexity.
 */
export const command: Command = {
  name: 'perplexity',
  summary: 'Perplexity over a text, in pieces of --ctx tokens (default 512), the second half of each counted',
  usage: '--file F [--ctx N]',
  options: { file: { type: 'string' } },
  async run(context) {
    if (context.positionals.length > 0) {
      throw new UsageError(`Unexpected argument "${context.positionals[0]}"`);
    }
    const text = readFileSync(requiredText(context.values, 'file'), 'utf8');
    const length = context.common.contextLength ?? DEFAULT_CONTEXT;
    if (length < 4) throw new UsageError('perplexity needs a context of at least 4 tokens');
    const engine = await context.loadEngine({ contextLength: length, store: null });
    const line = new ProgressLine(process.stderr);
    try {
      const { tokenizer } = engine;
      const ids = [tokenizer.special.bos, ...tokenizer.encode(text)];
      const pieces = Math.floor(ids.length / length);
      if (pieces === 0) {
        throw new Error(
          `The text has ${ids.length} tokens; perplexity needs at least ${length}. Use a longer text or a smaller --ctx.`,
        );
      }
      const losses: number[] = [];
      for (let piece = 0; piece < pieces; piece++) {
        const window = ids.slice(piece * length, (piece + 1) * length);
        window[0] = tokenizer.special.bos;
        const scores = await engine.logProbabilities(window, Math.floor(length / 2) + 1, context.signal);
        for (const score of scores) losses.push(-score);
        line.show(`${piece + 1} of ${pieces}: ${summary(losses).perplexity.toFixed(4)}`);
      }
      line.clear();
      const { perplexity, stderr } = summary(losses);
      context.print(`${perplexity.toFixed(4)} +/- ${stderr.toFixed(4)} over ${losses.length} tokens\n`);
      context.result({ perplexity, tokens: losses.length, stderr });
    } finally {
      line.clear();
      await engine.dispose();
    }
  },
};

function summary(losses: readonly number[]): { perplexity: number; stderr: number } {
  const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
  const variance = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / Math.max(1, losses.length - 1);
  const perplexity = Math.exp(mean);
  return { perplexity, stderr: perplexity * Math.sqrt(variance / losses.length) };
}
