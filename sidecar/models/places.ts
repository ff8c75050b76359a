/** Where other programs keep model files on this machine. */
import os from 'node:os';
import path from 'node:path';

export type ModelSource = 'ollama' | 'lm-studio' | 'llama.cpp' | 'hugging-face';

export interface ModelPlace {
  readonly source: ModelSource;
  readonly folder: string;
}

export interface Machine {
  readonly home: string;
  readonly platform: NodeJS.Platform;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export function thisMachine(): Machine {
  return { home: os.homedir(), platform: process.platform, environment: process.env };
}

/** Every place that may hold models, whether it exists or not; a variable that moves one replaces its usual folder. */
export function modelPlaces({ home, platform, environment }: Machine): readonly ModelPlace[] {
  const cache = environment['XDG_CACHE_HOME'] || path.join(home, '.cache');
  const llamaCaches: Partial<Record<NodeJS.Platform, string>> = {
    darwin: path.join(home, 'Library', 'Caches'),
    win32: environment['LOCALAPPDATA'] || path.join(home, 'AppData', 'Local'),
  };
  const ollama = environment['OLLAMA_MODELS'];
  const huggingFace = environment['HF_HOME'] || path.join(cache, 'huggingface');
  const places: (readonly [ModelSource, string])[] = [
    ['ollama', ollama || path.join(home, '.ollama', 'models')],
    ['lm-studio', path.join(home, '.lmstudio', 'models')],
    ['lm-studio', path.join(home, '.cache', 'lm-studio', 'models')],
    ['llama.cpp', environment['LLAMA_CACHE'] || path.join(llamaCaches[platform] ?? cache, 'llama.cpp')],
    ['hugging-face', environment['HF_HUB_CACHE'] || path.join(huggingFace, 'hub')],
  ];
  // Where Ollama's installer for Linux lets its service keep models.
  if (platform === 'linux' && !ollama) places.push(['ollama', '/usr/share/ollama/.ollama/models']);
  return places.map(([source, folder]) => ({ source, folder }));
}

/** Where this program keeps the KV of prompts it has read: below the user's own cache folder, never in a workspace. */
export function kvStoreFolder({ home, platform, environment }: Machine): string {
  const caches: Partial<Record<NodeJS.Platform, string>> = {
    darwin: path.join(home, 'Library', 'Caches'),
    win32: environment['LOCALAPPDATA'] || path.join(home, 'AppData', 'Local'),
  };
  const folder = environment['XDG_CACHE_HOME'] || caches[platform] || path.join(home, '.cache');
  return path.join(folder, 'gemma-sidecar', 'kv');
}
