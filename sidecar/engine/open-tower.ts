/** The image tower of a model: in its own file or in a projector file. One that cannot be used costs no text. */
import type { Gemma3Config } from './model/config.ts';
import { type GgufFile, readGguf } from './model/gguf.ts';
import { GgufError, namingFile } from './model/gguf-error.ts';
import type { SpecialIds } from './tokenizer/tokenizer.ts';
import { hasTower, imageTokens, readTowerFile, type TowerFile } from './vision/tower-file.ts';

export const NO_IMAGE_TOWER =
  'This model has no image tower, so it cannot see images. Choose a Gemma 3 model of 4B or more and put its projector file (mmproj*.gguf) beside it, or name that file as the image tower (setting imageTowerPath, option --mmproj).';

/** Or why there is none, in a sentence. */
export type OpenedTower =
  | { readonly file: TowerFile; readonly problem: null }
  | { readonly file: null; readonly problem: string };

export interface TowerRequest {
  readonly config: Gemma3Config;
  readonly special: SpecialIds;
  /** Absent: the model file itself. */
  readonly mmprojPath: string | undefined;
  /** Positions that are read at once; an image is never cut. */
  readonly mostTokens: number;
}

export function openTower(gguf: GgufFile, request: TowerRequest): OpenedTower {
  const { mmprojPath } = request;
  if (mmprojPath === undefined && !hasTower(gguf)) return { file: null, problem: NO_IMAGE_TOWER };
  const { special } = request;
  if (special.startOfImage === null || special.endOfImage === null) {
    const problem =
      'The vocabulary of this model has no pieces that stand around an image, so it cannot see images. Choose a Gemma 3 model of 4B or more.';
    return { file: null, problem };
  }
  try {
    const source = mmprojPath === undefined ? gguf : readGguf(mmprojPath);
    return { file: fittingTower(source, request), problem: null };
  } catch (error) {
    if (!(error instanceof Error) || !(error instanceof GgufError || 'code' in error)) throw error;
    const why = 'code' in error && error.code === 'ENOENT' ? `${mmprojPath} does not exist.` : error.message;
    return { file: null, problem: `The image tower cannot be used; text is read without it. ${why}` };
  }
}

/** @throws GgufError that names the file */
function fittingTower(source: GgufFile, { config, mostTokens }: TowerRequest): TowerFile {
  return namingFile(source.path, () => {
    const file = readTowerFile(source);
    const { textWidth } = file.config;
    if (textWidth !== config.width) {
      const sentence = `mm.input_projection.weight leads to a text model of width ${textWidth}, but this one has ${config.width}. Choose the projector file that belongs to the model.`;
      throw new GgufError('invalid', 'mm.input_projection.weight', 0, sentence);
    }
    if (imageTokens(file.config) > mostTokens) {
      const sentence = `An image would take ${imageTokens(file.config)} positions; at most ${mostTokens} are read at once.`;
      throw new GgufError('unsupported', 'clip.vision.projector.scale_factor', 0, sentence);
    }
    return file;
  });
}
