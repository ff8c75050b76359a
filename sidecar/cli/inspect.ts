/** `inspect`: what a GGUF file holds, and the memory it needs at each context length. */

import { kvMemory } from '../engine/kv/memory-plan.ts';
import { kvLayout, PASS_LIMITS } from '../engine/load-engine.ts';
import type { Gemma3Config } from '../engine/model/config.ts';
import { Gemma3 } from '../engine/model/gemma3.ts';
import { type GgufFile, readGguf } from '../engine/model/gguf.ts';
import { parameterCount, weightBytes } from '../engine/model/weights.ts';
import { openModelFile } from '../engine/model-file.ts';
import { openTower } from '../engine/open-tower.ts';
import {
  hasTower,
  imageTokens,
  readTowerFile,
  type TowerFile,
  towerMemoryBytes,
} from '../engine/vision/tower-file.ts';
import { findImageTower } from '../models/image-tower.ts';
import { type Command, UsageError } from './command.ts';

/** Contexts worth planning for, as far as the model was trained; its own limit always stands last. */
const CONTEXTS = [4096, 8192, 32_768, 131_072] as const;

export const command: Command = {
  name: 'inspect',
  summary: 'What a GGUF file holds and the memory it needs at each context',
  usage: 'FILE',
  options: {},
  async run(context) {
    const [file, unexpected] = context.positionals;
    if (unexpected !== undefined) throw new UsageError(`Unexpected argument "${unexpected}"`);
    const path = file ?? context.modelPath();
    const alone = readGguf(path);
    if (isProjector(alone)) {
      const tower = readTowerFile(alone);
      context.print(`${towerText(tower)}\n${typeTable(alone)}\n${tensorTable(alone)}`);
      context.result({ path, file_bytes: alone.fileSize, image_tower: towerReport(tower) });
      return;
    }
    const { gguf, config, notes, tokenizer } = openModelFile(path);
    const memory = memoryTable(gguf, config);
    const mmprojPath = context.common.mmproj ?? (await findImageTower(path)) ?? undefined;
    const { special } = tokenizer;
    const tower = openTower(gguf, { config, special, mmprojPath, mostTokens: PASS_LIMITS.tokens });
    const sight = tower.file === null ? `Images: ${tower.problem}\n` : towerText(tower.file);
    context.print(
      [header(gguf, config), typeTable(gguf), tensorTable(gguf), memoryText(memory), sight, ...notes].join(
        '\n',
      ),
    );
    context.print('\n');
    context.result({
      path: gguf.path,
      file_bytes: gguf.fileSize,
      gguf_version: gguf.version,
      name: gguf.metadata.optionalString('general.name') ?? null,
      parameters: parameterCount(config),
      layers: config.layers,
      width: config.width,
      feed_forward: config.feedForward,
      heads: config.heads,
      kv_heads: config.kvHeads,
      head_dim: config.headDim,
      vocabulary: config.vocabulary,
      window: config.window,
      trained_context: config.trainedContext,
      rope: config.rope,
      attention_scale: config.attentionScale,
      epsilon: config.epsilon,
      tied_output: config.tiedOutput,
      tensors: [...gguf.tensors.values()].map(({ name, type, shape, byteLength }) => ({
        name,
        type,
        shape,
        bytes: byteLength,
      })),
      memory,
      image_tower: tower.file === null ? null : towerReport(tower.file),
      image_problem: tower.problem,
      notes,
    });
  },
};

/** A projector file holds a tower and no text model. */
function isProjector(gguf: GgufFile): boolean {
  return hasTower(gguf) && gguf.metadata.optionalString('general.architecture') === 'clip';
}

function towerReport({ path, config }: TowerFile) {
  return {
    path,
    image_size: config.imageSize,
    patch_size: config.patchSize,
    width: config.width,
    feed_forward: config.feedForward,
    heads: config.heads,
    layers: config.layers,
    tokens: imageTokens(config),
    text_width: config.textWidth,
    loaded_bytes: towerMemoryBytes(config),
  };
}

function towerText({ path, config }: TowerFile): string {
  const { imageSize, patchSize, width, feedForward, heads, layers, textWidth } = config;
  return `Image tower in ${path}
  ${imageSize} x ${imageSize} pixels in patches of ${patchSize}, ${imageTokens(config)} tokens of ${textWidth}
  layers ${layers}, width ${width}, feed-forward ${feedForward}, heads ${heads}
  ${mib(towerMemoryBytes(config))} MiB more while images are read
`;
}

interface MemoryRow {
  readonly context: number;
  readonly weights_bytes: number;
  readonly kv_global_bytes: number;
  readonly kv_local_bytes: number;
  readonly kv_bytes: number;
  readonly scratch_bytes: number;
  readonly total_bytes: number;
  /** The KV cache with what lies behind rounded. */
  readonly kv_int8_bytes: number;
  readonly kv_int4_bytes: number;
}

function memoryTable(gguf: GgufFile, config: Gemma3Config): MemoryRow[] {
  const layout = kvLayout(config);
  const weights = weightBytes(gguf, config);
  const scratch = Gemma3.scratchBytes(config, PASS_LIMITS);
  const contexts = [...CONTEXTS.filter((context) => context < config.trainedContext), config.trainedContext];
  return contexts.map((context) => {
    const kv = kvMemory(layout, context);
    return {
      context,
      weights_bytes: weights,
      kv_global_bytes: kv.global,
      kv_local_bytes: kv.local,
      kv_bytes: kv.total,
      scratch_bytes: scratch,
      total_bytes: weights + kv.total + scratch,
      kv_int8_bytes: kvMemory(kvLayout(config, { format: 'int8' }), context).total,
      kv_int4_bytes: kvMemory(kvLayout(config, { format: 'int4' }), context).total,
    };
  });
}

function header(gguf: GgufFile, config: Gemma3Config): string {
  const globals = config.layers.filter((kind) => kind === 'global').length;
  const { local, global } = config.rope;
  return `${gguf.metadata.optionalString('general.name') ?? gguf.path}: Gemma 3, ${(parameterCount(config) / 1e6).toFixed(1)} M parameters, GGUF version ${gguf.version}, ${mib(gguf.fileSize)} MiB
  layers ${config.layers.length} (${globals} global), width ${config.width}, feed-forward ${config.feedForward}
  heads ${config.heads}, KV heads ${config.kvHeads}, head dimension ${config.headDim}, attention scale ${config.attentionScale.toPrecision(6)}
  vocabulary ${config.vocabulary}, output head ${config.tiedOutput ? 'tied to the embedding' : 'of its own'}
  window ${config.window}, trained context ${config.trainedContext}
  RoPE base ${local.base} in local layers; ${global.base}, positions / ${global.factor}, in global ones
`;
}

function typeTable(gguf: GgufFile): string {
  const types = new Map<string, { tensors: number; bytes: number }>();
  for (const { type, byteLength } of gguf.tensors.values()) {
    const { tensors, bytes } = types.get(type) ?? { tensors: 0, bytes: 0 };
    types.set(type, { tensors: tensors + 1, bytes: bytes + byteLength });
  }
  const lines = [...types].map(
    ([type, { tensors, bytes }]) =>
      `  ${type.padEnd(5)} ${String(tensors).padStart(5)} tensors ${mib(bytes).padStart(9)} MiB`,
  );
  return `Types\n${lines.join('\n')}\n`;
}

function tensorTable(gguf: GgufFile): string {
  const lines = [...gguf.tensors.values()].map(
    ({ name, type, shape, byteLength }) =>
      `  ${name.padEnd(36)} ${type.padEnd(5)} ${shape.join(' x ').padEnd(15)} ${mib(byteLength).padStart(9)} MiB`,
  );
  return `Tensors\n${lines.join('\n')}\n`;
}

function memoryText(rows: readonly MemoryRow[]): string {
  const lines = rows.map(
    (row) =>
      `  ${String(row.context).padStart(7)} ${[row.weights_bytes, row.kv_global_bytes, row.kv_local_bytes, row.scratch_bytes, row.total_bytes, row.kv_int8_bytes, row.kv_int4_bytes].map((bytes) => mib(bytes).padStart(10)).join(' ')}`,
  );
  return `Memory in MiB (KV cache F16; the last two columns: all of it with --kv int8 and int4)\n  context    weights  KV global   KV local    scratch      total    KV int8    KV int4\n${lines.join('\n')}\n`;
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
