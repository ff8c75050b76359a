/** `models`: the Gemma files known on this machine. */
import { describeModel } from '../models/describe.ts';
import { builtInModelPath, missingBuiltInModel } from '../models/find.ts';
import type { Command } from './command.ts';

export const command: Command = {
  name: 'models',
  summary: 'Gemma files on this machine: the built-in one, and the one --model names',
  usage: '',
  options: {},
  async run({ common, print, log, result }) {
    const builtIn = builtInModelPath();
    if (builtIn === null) log(missingBuiltInModel());
    const paths = [...new Set([builtIn, common.model])].filter((path) => path !== null);
    const models = paths.map((path) => ({ ...describeModel(path), builtIn: path === builtIn }));
    for (const { name, path, parameters, fileBytes, quantisation, trainedContext } of models) {
      const size = `${(parameters / 1e6).toFixed(1)} M parameters, ${(fileBytes / 1e6).toFixed(1)} MB`;
      print(`${name}: ${size}, ${quantisation}, context ${trainedContext}\n  ${path}\n`);
    }
    result({
      models: models.map(({ fileBytes, trainedContext, builtIn: isBuiltIn, ...model }) => ({
        ...model,
        file_bytes: fileBytes,
        context_length: trainedContext,
        built_in: isBuiltIn,
      })),
    });
  },
};
