/**
 * A Gemma 3 checkpoint as Hugging Face stores it, described as the GGUF file that it becomes: `config.json`,
 * `tokenizer.json` and weights in `model.safetensors`, or in shards that `model.safetensors.index.json` lists.
 */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { quoted } from '../gguf-error.ts';
import type { GgufValue } from '../gguf-metadata.ts';
import type { SourceTensor } from '../requantize.ts';
import { configMetadata, type TextConfig } from './config-metadata.ts';
import { CheckpointError, isObject, readJsonFile, siblingFile } from './json-file.ts';
import { readSafetensors, type SafetensorsTensor } from './safetensors.ts';
import { ggufTensorName } from './tensor-names.ts';
import { tokenizerMetadata } from './tokenizer-metadata.ts';

export interface Checkpoint {
  readonly metadata: Readonly<Record<string, GgufValue>>;
  readonly tensors: readonly SourceTensor[];
  /** Sentences about what was left out. */
  readonly notes: readonly string[];
}

/** Gemma's tokenizer.json has 33 MB; its other files far less. */
const LIMITS = { config: 1 << 20, index: 1 << 24, tokenizer: 1 << 27 } as const;

const CONFIG = 'config.json';
const TOKENIZER = 'tokenizer.json';
const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const EMBEDDING = 'token_embd.weight';
const HEAD = 'output.weight';

/** Whether `input` names a checkpoint: a folder, a safetensors file, or an index of shards. */
export function isCheckpoint(input: string): boolean {
  return (
    input.endsWith('.safetensors') ||
    input.endsWith('.safetensors.index.json') ||
    (existsSync(input) && statSync(input).isDirectory())
  );
}

/**
 * Reads all headers, no weights.
 *
 * @throws CheckpointError that names the file, or the system's error for one that cannot be opened.
 */
export function readCheckpoint(input: string): Checkpoint {
  const isFolder = statSync(input).isDirectory();
  const folder = isFolder ? input : path.dirname(input);
  const configFile = path.join(folder, CONFIG);
  const tokenizerFile = path.join(folder, TOKENIZER);
  for (const needed of [configFile, tokenizerFile]) {
    if (!existsSync(needed)) {
      throw new CheckpointError(
        'incomplete',
        needed,
        'is missing; a checkpoint is converted with its config and tokenizer.',
      );
    }
  }
  const config = configMetadata(readJsonFile(configFile, LIMITS.config), configFile);
  const weights = readWeights(isFolder ? weightsIn(folder) : input);
  const { tensors, images } = textTensors(weights, config, input);
  const embedding = tensors.find(({ name }) => name === EMBEDDING);
  if (embedding === undefined) {
    throw new CheckpointError('incomplete', input, 'has no embedding (model.embed_tokens.weight).');
  }
  const rows = embedding.shape[1]!;
  const tokenizer = tokenizerMetadata(readJsonFile(tokenizerFile, LIMITS.tokenizer), rows, tokenizerFile);
  return {
    metadata: {
      ...config.metadata,
      'general.name': { kind: 'string', value: path.basename(path.resolve(folder)) },
      ...tokenizer.metadata,
    },
    tensors: tensors.map((tensor) => withRows(tensor, tokenizer.size)),
    notes: [
      ...(images > 0 ? [`Left out ${images} tensors of the image tower.`] : []),
      ...(rows > tokenizer.size
        ? [`Left out ${rows - tokenizer.size} rows of the embedding that no piece of the tokenizer has.`]
        : []),
    ],
  };
}

function weightsIn(folder: string): string {
  for (const name of [INDEX, SINGLE]) {
    const file = path.join(folder, name);
    if (existsSync(file)) return file;
  }
  throw new CheckpointError('incomplete', folder, `holds neither ${SINGLE} nor ${INDEX}.`);
}

function readWeights(file: string): ReadonlyMap<string, SafetensorsTensor> {
  if (!file.endsWith('.json')) return readSafetensors(file);
  const { weight_map: places } = readJsonFile(file, LIMITS.index);
  if (!isObject(places)) throw new CheckpointError('invalid', file, 'has no weight_map.');
  const shards = new Map<string, ReadonlyMap<string, SafetensorsTensor>>();
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, shardName] of Object.entries(places)) {
    if (typeof shardName !== 'string') {
      throw new CheckpointError('invalid', file, `gives no file for ${quoted(name)}.`);
    }
    const shardFile = siblingFile(path.dirname(file), shardName, file);
    const shard = shards.get(shardFile) ?? readSafetensors(shardFile);
    shards.set(shardFile, shard);
    const tensor = shard.get(name);
    if (tensor === undefined) {
      throw new CheckpointError(
        'incomplete',
        shardFile,
        `lacks the tensor ${quoted(name)}, which the index puts there.`,
      );
    }
    tensors.set(name, tensor);
  }
  return tensors;
}

function textTensors(
  weights: ReadonlyMap<string, SafetensorsTensor>,
  { tiedOutput }: TextConfig,
  input: string,
): { readonly tensors: SourceTensor[]; readonly images: number } {
  const tensors = new Map<string, SourceTensor>();
  let images = 0;
  for (const weight of weights.values()) {
    const name = ggufTensorName(weight.name);
    if (name === null) {
      throw new CheckpointError(
        'unsupported',
        weight.path,
        `has a tensor ${quoted(weight.name)} that no Gemma 3 has.`,
      );
    }
    if (name === 'vision') {
      images++;
      continue;
    }
    // A tied head is stored by some programs all the same.
    if (name === HEAD && tiedOutput) continue;
    if (tensors.has(name)) throw new CheckpointError('invalid', input, `has ${name} twice.`);
    tensors.set(name, sourceTensor(name, weight));
  }
  return { tensors: [...tensors.values()], images };
}

function sourceTensor(
  name: string,
  { dtype, shape, path, offset, byteLength, name: original }: SafetensorsTensor,
): SourceTensor {
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new CheckpointError(
      'unsupported',
      path,
      `has ${original} in ${dtype}; F32, F16 and BF16 are converted.`,
    );
  }
  if (shape.length < 1 || shape.length > 2 || shape.includes(0)) {
    throw new CheckpointError('invalid', path, `has ${original} with the shape [${shape.join(', ')}].`);
  }
  return {
    name,
    path,
    type: dtype,
    shape: shape.toReversed(),
    offset,
    byteLength,
    // Hugging Face's norms multiply by 1 + weight, GGUF's by the weight.
    addend: shape.length === 1 ? 1 : 0,
  };
}

/** Vocabulary matrices with as many rows as the tokenizer has pieces: llama.cpp insists on it. */
function withRows(tensor: SourceTensor, rows: number): SourceTensor {
  const { name, shape, byteLength } = tensor;
  const [columns, had] = shape;
  if ((name !== EMBEDDING && name !== HEAD) || columns === undefined || had === undefined || had <= rows) {
    return tensor;
  }
  return { ...tensor, shape: [columns, rows], byteLength: (byteLength / had) * rows };
}
