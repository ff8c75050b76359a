/** `detokenize`: the text of token ids. */
import { openModelFile } from '../engine/model-file.ts';
import { type Command, UsageError } from './command.ts';
import { parseIds } from './options.ts';

export const command: Command = {
  name: 'detokenize',
  summary: 'Text of token ids',
  usage: 'IDS',
  options: {},
  async run(context) {
    const ids = parseIds(context.positionals, 'detokenize');
    const tokenizer = openModelFile(context.modelPath()).tokenizer;
    const outside = ids.find((id) => id >= tokenizer.size);
    if (outside !== undefined) {
      throw new UsageError(`Token ${outside} does not exist; the vocabulary has ${tokenizer.size} ids`);
    }
    const text = tokenizer.decode(ids);
    context.print(`${text}\n`);
    context.result({ text });
  },
};
