/** `tokenize`: the ids of a text, without BOS; control pieces in it are plain text. */
import { readFileSync } from 'node:fs';
import { openModelFile } from '../engine/model-file.ts';
import { type Command, UsageError } from './command.ts';
import { textOption } from './options.ts';

export const command: Command = {
  name: 'tokenize',
  summary: 'Token ids of a text',
  usage: '[--file F] [TEXT]',
  options: { file: { type: 'string' } },
  async run(context) {
    const file = textOption(context.values, 'file');
    const [text, unexpected] = context.positionals;
    if (unexpected !== undefined) throw new UsageError(`Unexpected argument "${unexpected}"; quote the text`);
    if ((file === undefined) === (text === undefined)) {
      throw new UsageError('tokenize needs either a text or --file');
    }
    const tokenizer = openModelFile(context.modelPath()).tokenizer;
    const ids = [...tokenizer.encode(text ?? readFileSync(file!, 'utf8'))];
    context.print(`${ids.join(' ')}\n`);
    context.result({ ids });
  },
};
