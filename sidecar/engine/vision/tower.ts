/**
 * The image tower of Gemma 3 (SigLIP, arXiv 2303.15343, with Gemma's pooling and projection, arXiv 2503.19786): pixels to
 * soft tokens. One pass a layer, so that progress can be told and urgent work gets its turn between layers.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Activation, Backend, Matrix, Pass, Vector } from '../backend/backend.ts';
import type { WeightSource } from '../backend/tensor.ts';
import { dequantizeRow } from '../model/quants.ts';
import type { RgbImage } from './rgb-image.ts';
import { FEED_FORWARD_ROWS, imageTokens, type TowerConfig, type TowerFile } from './tower-file.ts';

interface Norm {
  readonly weight: Vector;
  readonly bias: Vector;
}
interface Linear {
  readonly weight: Matrix;
  readonly bias: Vector;
}
interface Layer {
  readonly norm1: Norm;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly norm2: Norm;
  readonly up: Linear;
  readonly down: Linear;
}
interface Weights {
  readonly patch: Linear;
  readonly position: Matrix;
  readonly layers: readonly Layer[];
  readonly postNorm: Norm;
  readonly softNorm: Vector;
  readonly projection: Matrix;
}

/**
 * Runs a pass that `record` fills, when nothing more urgent wants the backend; rejects with PassCancelled. No other pass runs
 * during `record` and `finish`, which comes behind it: only there is the backend's memory written and read.
 */
export type RunPass = (record: (pass: Pass) => void, finish?: () => void) => Promise<void>;

export class Tower {
  readonly config: TowerConfig;
  readonly #backend: Backend;
  readonly #weights: Weights;
  readonly #owned: { dispose(): void }[];

  private constructor(config: TowerConfig, backend: Backend, weights: Weights, owned: { dispose(): void }[]) {
    this.config = config;
    this.#backend = backend;
    this.#weights = weights;
    this.#owned = owned;
  }

  /** Loads every weight; frees what it has loaded if the signal fires. */
  static async load(file: TowerFile, backend: Backend, signal?: AbortSignal): Promise<Tower> {
    const owned: { dispose(): void }[] = [];
    const own = <T extends { dispose(): void }>(thing: T): T => {
      owned.push(thing);
      return thing;
    };
    const vector = async (name: string) => {
      signal?.throwIfAborted();
      return own(await backend.loadVector(file.weight(name)));
    };
    const matrix = async (source: WeightSource, rounded = true) => {
      signal?.throwIfAborted();
      return own(await backend.loadMatrix(source, rounded));
    };
    const norm = async (name: string): Promise<Norm> => ({
      weight: await vector(`${name}.weight`),
      bias: await vector(`${name}.bias`),
    });
    const linear = async (name: string): Promise<Linear> => ({
      weight: await matrix(file.weight(`${name}.weight`)),
      bias: await vector(`${name}.bias`),
    });
    try {
      // First and last product exactly: they are a thousandth of the work, and nothing behind averages their errors.
      const patch = {
        weight: await matrix(patchMatrix(file), false),
        bias: await vector('v.patch_embd.bias'),
      };
      const position = await matrix(file.weight('v.position_embd.weight'), false);
      const layers: Layer[] = [];
      for (let i = 0; i < file.config.layers; i++) {
        const name = `v.blk.${i}`;
        layers.push({
          norm1: await norm(`${name}.ln1`),
          query: await linear(`${name}.attn_q`),
          key: await linear(`${name}.attn_k`),
          value: await linear(`${name}.attn_v`),
          output: await linear(`${name}.attn_out`),
          norm2: await norm(`${name}.ln2`),
          up: await linear(`${name}.ffn_up`),
          down: await linear(`${name}.ffn_down`),
        });
      }
      const postNorm = await norm('v.post_ln');
      // Its weight has Gemma's +1 already, as in every file that is read here.
      const softNorm = await vector('mm.soft_emb_norm.weight');
      const projection = await matrix(transposed(file.weight('mm.input_projection.weight')), false);
      const weights = { patch, position, layers, postNorm, softNorm, projection };
      return new Tower(file.config, backend, weights, owned);
    } catch (error) {
      for (const thing of owned) thing.dispose();
      throw error;
    }
  }

  /**
   * Soft tokens `[tokens][textWidth]`, unscaled, of an image of exactly imageSize x imageSize. `onLayer` is called before the
   * first and after every layer.
   */
  async encode(image: RgbImage, run: RunPass, onLayer: (done: number) => void): Promise<Float32Array> {
    const { imageSize, patchSize, width, feedForward, layers, pool, textWidth } = this.config;
    if (image.width !== imageSize || image.height !== imageSize)
      throw new RangeError(
        `The tower sees ${imageSize} x ${imageSize} pixels, not ${image.width} x ${image.height}.`,
      );
    const side = imageSize / patchSize;
    const rows = side * side;
    const tokens = imageTokens(this.config);
    const chunk = Math.min(rows, FEED_FORWARD_ROWS);
    const scratch: Activation[] = [];
    const create = (count: number, columns: number) => {
      const created = this.#backend.createActivation(count, columns);
      scratch.push(created);
      return created;
    };
    try {
      const x = create(rows, width);
      const buffers: LayerBuffers = {
        x,
        normed: create(rows, width),
        query: create(rows, width),
        key: create(rows, width),
        value: create(rows, width),
        up: create(chunk, feedForward),
        down: create(chunk, width),
      };
      const patches = create(rows, 3 * patchSize * patchSize);
      const pixels = patchRows(image, patchSize);
      await run((pass) => {
        this.#backend.upload(patches, pixels, 0);
        this.#embed(pass, patches, buffers, rows);
      });
      onLayer(0);
      for (let i = 0; i < layers; i++) {
        await run((pass) => this.#layer(pass, this.#weights.layers[i]!, buffers, rows, chunk));
        onLayer(i + 1);
      }
      const out = create(tokens, textWidth);
      const result = new Float32Array(tokens * textWidth);
      const project = (pass: Pass) => {
        const { postNorm, softNorm, projection } = this.#weights;
        pass.layerNorm(buffers.normed, x, postNorm.weight, postNorm.bias, rows, this.config.epsilon);
        pass.averagePool(buffers.query, buffers.normed, side, pool);
        pass.rmsNorm(buffers.query, buffers.query, softNorm, tokens, this.config.epsilon);
        pass.matmul(buffers.query, [{ weight: projection, out }], tokens);
      };
      await run(project, () => this.#backend.readBack(out, result, 0, tokens));
      return result;
    } finally {
      for (const activation of scratch) activation.dispose();
    }
  }

  /** Frees the weights. */
  dispose(): void {
    for (const thing of this.#owned.splice(0)) thing.dispose();
  }

  #embed(pass: Pass, patches: Activation, { x, normed }: LayerBuffers, rows: number): void {
    const { patch, position } = this.#weights;
    pass.matmul(patches, [{ weight: patch.weight, out: x }], rows);
    pass.addBias(x, patch.bias, rows);
    pass.embed(
      normed,
      position,
      Uint32Array.from({ length: rows }, (_, i) => i),
      1,
    );
    pass.add(x, normed, rows);
  }

  #layer(pass: Pass, layer: Layer, buffers: LayerBuffers, rows: number, chunk: number): void {
    const { x, normed, query, key, value, up, down } = buffers;
    const { heads, width, epsilon } = this.config;
    pass.layerNorm(normed, x, layer.norm1.weight, layer.norm1.bias, rows, epsilon);
    pass.matmul(
      normed,
      [
        { weight: layer.query.weight, out: query },
        { weight: layer.key.weight, out: key },
        { weight: layer.value.weight, out: value },
      ],
      rows,
    );
    pass.addBias(query, layer.query.bias, rows);
    pass.addBias(key, layer.key.bias, rows);
    pass.addBias(value, layer.value.bias, rows);
    pass.mutualAttention(query, query, key, value, { tokens: rows, heads, scale: (width / heads) ** -0.5 });
    pass.matmul(query, [{ weight: layer.output.weight, out: normed }], rows);
    pass.addBias(normed, layer.output.bias, rows);
    pass.add(x, normed, rows);
    pass.layerNorm(normed, x, layer.norm2.weight, layer.norm2.bias, rows, epsilon);
    for (let first = 0; first < rows; first += chunk) {
      const count = Math.min(chunk, rows - first);
      pass.matmul(normed, [{ weight: layer.up.weight, out: up }], count, first);
      pass.addBias(up, layer.up.bias, count, 'gelu');
      pass.matmul(up, [{ weight: layer.down.weight, out: down }], count);
      pass.addBias(down, layer.down.bias, count);
      pass.add(x, down, count, first);
    }
  }
}

interface LayerBuffers {
  /** The residual stream. */
  readonly x: Activation;
  readonly normed: Activation;
  readonly query: Activation;
  readonly key: Activation;
  readonly value: Activation;
  readonly up: Activation;
  readonly down: Activation;
}

/** `[patch][channel, ky, kx]` in [-1, 1], patches row by row. */
function patchRows({ width, data }: RgbImage, patch: number): Float32Array {
  const side = width / patch;
  const columns = 3 * patch * patch;
  const rows = new Float32Array(side * side * columns);
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < width; x++) {
      const at = (Math.floor(y / patch) * side + Math.floor(x / patch)) * columns;
      const inPatch = (y % patch) * patch + (x % patch);
      for (let channel = 0; channel < 3; channel++) {
        rows[at + channel * patch * patch + inPatch] =
          (data[3 * (y * width + x) + channel]! / 255 - 0.5) / 0.5;
      }
    }
  }
  return rows;
}

/** The file's convolution kernel `[width][channel][ky][kx]` is a matrix already. */
function patchMatrix(file: TowerFile): WeightSource {
  const source = file.weight('v.patch_embd.weight');
  const { width, patchSize } = file.config;
  return { ...source, rows: width, columns: 3 * patchSize * patchSize };
}

/** The projection stands in the file as x times W; a matrix product here is W times x. */
function transposed(source: WeightSource): WeightSource {
  const { rows, columns, type } = source;
  const values = new Float32Array(rows * columns);
  const bytes = weightBytes(source);
  const row = new Float32Array(columns);
  for (let r = 0; r < rows; r++) {
    const length = bytes.length / rows;
    dequantizeRow(type, bytes.subarray(r * length, (r + 1) * length), row);
    for (let c = 0; c < columns; c++) values[c * rows + r] = row[c]!;
  }
  return {
    name: source.name,
    type: 'F32',
    rows: columns,
    columns: rows,
    data: new Uint8Array(values.buffer),
  };
}

function weightBytes({ data }: WeightSource): Uint8Array {
  if (data instanceof Uint8Array) return data;
  const file = openSync(data.path, 'r');
  try {
    const bytes = new Uint8Array(data.byteLength);
    const read = readSync(file, bytes, 0, bytes.length, data.offset);
    if (read !== bytes.length) throw new Error(`${data.path} became shorter while it was read.`);
    return bytes;
  } finally {
    closeSync(file);
  }
}
