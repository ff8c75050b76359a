/** `models`: the Gemma files on this machine. */
import { type DescribedModel, describeModel } from '../models/describe.ts';
import { findModels } from '../models/discover.ts';
import { builtInModelPath, missingBuiltInModel } from '../models/find.ts';
import { modelPlaces, thisMachine } from '../models/places.ts';
import type { Command } from './command.ts';

interface Listed extends DescribedModel {
  readonly source: string;
}

export const command: Command = {
  name: 'models',
  summary: 'Gemma 3 files on this machine: built in, named by --model, and kept by other programs',
  usage: '',
  options: {},
  async run({ common, print, log, result }) {
    const builtIn = builtInModelPath();
    if (builtIn === null) log(missingBuiltInModel());
    const models: Listed[] = [];
    if (builtIn !== null) models.push({ ...(await describeModel(builtIn)), source: 'built-in' });
    if (common.model !== null && common.model !== builtIn) {
      models.push({ ...(await describeModel(common.model)), source: 'chosen' });
    }
    for (const model of await findModels(modelPlaces(thisMachine()))) {
      if (models.every(({ path }) => path !== model.path)) models.push(model);
    }
    for (const model of models) print(`${line(model)}\n  ${model.path}\n`);
    result({
      models: models.map(({ fileBytes, trainedContext, fittingContext, ...model }) => ({
        ...model,
        file_bytes: fileBytes,
        context_length: trainedContext,
        fitting_context: fittingContext,
        built_in: model.source === 'built-in',
      })),
    });
  },
};

function line({ name, parameters, fileBytes, quantisation, trainedContext, fittingContext, source }: Listed) {
  const size = `${(parameters / 1e6).toFixed(1)} M parameters, ${(fileBytes / 1e6).toFixed(1)} MB`;
  const fit =
    fittingContext === 0
      ? 'does not fit in free memory'
      : fittingContext < trainedContext
        ? `fits with a context of ${fittingContext}`
        : 'fits';
  return `${name} (${source}): ${size}, ${quantisation}, context ${trainedContext}, ${fit}`;
}
