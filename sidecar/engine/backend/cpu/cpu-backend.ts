/** The backend that computes on the processor: packed weights, own kernels, own threads (see ARCHITECTURE.md). */
import {
  type Activation,
  type ActivationPrecision,
  type Backend,
  BackendError,
  type BackendMemory,
  type KvArena,
  type KvArenaOptions,
  type KvShape,
  type Matrix,
  type OperationTime,
  type Pass,
  type Vector,
} from '../backend.ts';
import { rowBytes, shadowBytes, TENSOR_TYPES, type WeightSource } from '../tensor.ts';
import { CpuActivation, CpuKvArena, CpuMatrix, CpuVector, type Owner } from './cpu-objects.ts';
import { CpuPass } from './cpu-pass.ts';
import {
  guard,
  loadNative,
  MATRIX_FORMATS,
  type NativeWeight,
  nativeBuild,
  PRECISIONS,
  type Screening,
  toBackendError,
} from './native.ts';

export interface CpuOptions {
  /** Worker threads; by default one for each physical performance core this process may use. */
  readonly threads?: number;
  /** 'int8' by default. */
  readonly precision?: ActivationPrecision;
  /** An instruction set of {@link cpuInstructionSets}; by default GEMMA_SIDECAR_ISA, else the best. */
  readonly isa?: string;
  /** How far the priority of the threads that compute is below the process's, from 0 (the default) to 19. */
  readonly niceness?: number;
  /** Whether `addShadow` makes shadows; by default on {@link SCREENING} instruction sets. */
  readonly shadows?: boolean;
}

/** Where unpacking codes keeps pace with memory; with the others, reading the matrix itself is as fast. */
const SCREENING: readonly string[] = ['avx512', 'avxvnni', 'avx2'];

export interface CpuMemory extends BackendMemory {
  /** The part of the KV reservation that the system has given so far. */
  readonly kvTouched: number;
}

export interface CpuBackend extends Backend {
  /** The instruction set in use, for example "avx512". */
  readonly isa: string;
  readonly threads: number;
  memory(): CpuMemory;
  screening(): Screening;
}

/** Instruction sets that this build has kernels for and this processor can run, best first; the last is "scalar". */
export function cpuInstructionSets(): readonly string[] {
  const native = loadNative();
  return guard(() => native.isas());
}

/**
 * @throws BackendError if the addon or the instruction set is not there.
 * @throws OutOfMemory if threads get no scratch.
 */
export function createCpuBackend(options: CpuOptions = {}): CpuBackend {
  const native = loadNative();
  const precision = options.precision ?? 'int8';
  const isa = options.isa ?? process.env['GEMMA_SIDECAR_ISA'] ?? '';
  const created = guard(() =>
    native.createEngine(options.threads ?? 0, isa, PRECISIONS.indexOf(precision), options.niceness ?? 0),
  );
  return new NativeCpuBackend({ native, engine: created.handle }, precision, created, options.shadows);
}

class NativeCpuBackend implements CpuBackend {
  readonly name = 'cpu';
  readonly description: string;
  readonly precision: ActivationPrecision;
  readonly numerics: string;
  readonly isa: string;
  readonly threads: number;
  readonly #owner: Owner;
  readonly #shadows: boolean;
  #nextPass = 1;
  #disposed = false;

  constructor(
    owner: Owner,
    precision: ActivationPrecision,
    created: { isa: string; description: string; threads: number },
    shadows = SCREENING.includes(created.isa),
  ) {
    this.#shadows = shadows;
    this.#owner = owner;
    this.precision = precision;
    this.numerics = `cpu ${nativeBuild()} ${created.isa} ${precision}`;
    this.isa = created.isa;
    this.threads = created.threads;
    this.description = `CPU, ${created.description}, ${created.threads} thread${created.threads === 1 ? '' : 's'}`;
  }

  async loadMatrix(source: WeightSource, rounded = false): Promise<Matrix> {
    try {
      const id = await this.#owner.native.loadMatrix(...this.#weight(source), rounded);
      return new CpuMatrix(this.#owner, id, source);
    } catch (error) {
      throw toBackendError(error);
    }
  }

  async addShadow(matrix: Matrix): Promise<void> {
    if (!(matrix instanceof CpuMatrix && matrix.owner === this.#owner))
      throw new RangeError('This matrix does not belong to this backend');
    if (!this.#shadows || shadowBytes(matrix.type, matrix.rows, matrix.columns) === 0) return;
    try {
      while (!(await this.#owner.native.growShadow(this.#owner.engine, matrix.id)));
    } catch (error) {
      throw toBackendError(error);
    }
  }

  screening(): Screening {
    return guard(() => this.#owner.native.screening(this.#owner.engine));
  }

  async loadVector(source: WeightSource): Promise<Vector> {
    try {
      const id = await this.#owner.native.loadVector(...this.#weight(source));
      return new CpuVector(this.#owner, id, source.name, source.columns);
    } catch (error) {
      throw toBackendError(error);
    }
  }

  createActivation(tokens: number, width: number): Activation {
    return new CpuActivation(this.#owner, tokens, width);
  }

  createKvArena(shape: KvShape, pages: number, options: KvArenaOptions = {}): KvArena {
    return new CpuKvArena(this.#owner, shape, pages, { format: 'f16', bounded: false, ...options });
  }

  createPass(): Pass {
    return new CpuPass(this.#owner, this.#nextPass++);
  }

  readBack(source: Activation, target: Float32Array, firstToken: number, tokens: number): void {
    const from = this.#activation(source);
    guard(() => this.#owner.native.readBack(this.#owner.engine, from.id, target, firstToken, tokens));
  }

  upload(target: Activation, values: Float32Array, firstToken: number): void {
    const to = this.#activation(target);
    guard(() => this.#owner.native.upload(this.#owner.engine, to.id, values, firstToken));
  }

  memory(): CpuMemory {
    return guard(() => this.#owner.native.memory(this.#owner.engine));
  }

  profile(): readonly OperationTime[] {
    return guard(() => this.#owner.native.profile(this.#owner.engine));
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    guard(() => this.#owner.native.disposeEngine(this.#owner.engine));
  }

  #activation(value: Activation): CpuActivation {
    if (value instanceof CpuActivation && value.owner === this.#owner) return value;
    throw new RangeError('This activation does not belong to this backend');
  }

  #weight({ name, type, rows, columns, data }: WeightSource): NativeWeight {
    const format = MATRIX_FORMATS.indexOf(type);
    if (format < 0) {
      throw new BackendError(
        `${name}: the cpu backend cannot load tensors of type ${type}; it reads ${Object.keys(TENSOR_TYPES).join(', ')}.`,
      );
    }
    const expected = rows * rowBytes(type, columns);
    if (data.byteLength !== expected) {
      throw new RangeError(
        `${name} has ${data.byteLength} bytes; ${rows} x ${columns} ${type} need ${expected}.`,
      );
    }
    const { engine } = this.#owner;
    if (data instanceof Uint8Array) return [engine, name, format, rows, columns, data, 0, 0, 0];
    return [engine, name, format, rows, columns, data.path, data.fileSize, data.offset, data.byteLength];
  }
}
