/** The CPU backend's matrices, vectors, activations and arenas: handles of one engine, with the shapes for checks. */
import type { Activation, KvArena, KvArenaOptions, KvFormat, KvShape, Matrix, Vector } from '../backend.ts';
import type { TensorType, WeightSource } from '../tensor.ts';
import { guard, KV_FORMATS, type NativeAddon } from './native.ts';

/** The engine that an object belongs to; an object of another engine, or of a disposed one, is refused. */
export interface Owner {
  readonly native: NativeAddon;
  readonly engine: number;
}

export class CpuMatrix implements Matrix {
  readonly owner: Owner;
  readonly id: number;
  readonly name: string;
  readonly type: TensorType;
  readonly rows: number;
  readonly columns: number;
  #disposed = false;

  constructor(owner: Owner, id: number, { name, type, rows, columns }: WeightSource) {
    this.owner = owner;
    this.id = id;
    this.name = name;
    this.type = type;
    this.rows = rows;
    this.columns = columns;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    guard(() => this.owner.native.disposeMatrix(this.owner.engine, this.id));
  }
}

export class CpuVector implements Vector {
  readonly owner: Owner;
  readonly id: number;
  readonly name: string;
  readonly length: number;
  #disposed = false;

  constructor(owner: Owner, id: number, name: string, length: number) {
    this.owner = owner;
    this.id = id;
    this.name = name;
    this.length = length;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    guard(() => this.owner.native.disposeVector(this.owner.engine, this.id));
  }
}

export class CpuActivation implements Activation {
  readonly owner: Owner;
  readonly id: number;
  readonly tokens: number;
  readonly width: number;
  #disposed = false;

  constructor(owner: Owner, tokens: number, width: number) {
    this.owner = owner;
    this.tokens = tokens;
    this.width = width;
    this.id = guard(() => owner.native.createActivation(owner.engine, tokens, width));
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    guard(() => this.owner.native.disposeActivation(this.owner.engine, this.id));
  }
}

export class CpuKvArena implements KvArena {
  readonly owner: Owner;
  readonly id: number;
  readonly shape: KvShape;
  readonly format: KvFormat;
  readonly pages: number;
  readonly pageBytes: number;
  readonly bounded: boolean;
  #disposed = false;

  constructor(owner: Owner, shape: KvShape, pages: number, { format, bounded }: Required<KvArenaOptions>) {
    this.owner = owner;
    this.shape = shape;
    this.format = format;
    this.bounded = bounded;
    this.pages = pages;
    const { layers, kvHeads, headDim } = shape;
    const { handle, pageBytes } = guard(() =>
      owner.native.createArena(
        owner.engine,
        layers,
        kvHeads,
        headDim,
        pages,
        KV_FORMATS.indexOf(format),
        bounded ? 1 : 0,
      ),
    );
    this.id = handle;
    this.pageBytes = pageBytes;
  }

  copyPage(from: number, to: number): void {
    guard(() => this.owner.native.copyPage(this.owner.engine, this.id, from, to));
  }

  readPage(page: number, target: Uint8Array): void {
    guard(() => this.owner.native.readPage(this.owner.engine, this.id, page, target));
  }

  writePage(page: number, source: Uint8Array): void {
    guard(() => this.owner.native.writePage(this.owner.engine, this.id, page, source));
  }

  compressPage(from: KvArena, page: number, to: number): void {
    if (!(from instanceof CpuKvArena && from.owner === this.owner)) {
      throw new RangeError('compressPage: the arena is not of this backend');
    }
    guard(() => this.owner.native.compressPage(this.owner.engine, from.id, page, this.id, to));
  }

  boundPage(page: number): void {
    guard(() => this.owner.native.boundPage(this.owner.engine, this.id, page));
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    guard(() => this.owner.native.disposeArena(this.owner.engine, this.id));
  }
}
