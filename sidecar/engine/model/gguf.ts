/**
 * Reads the header of a GGUF file (versions 2 and 3, little-endian): metadata and the table of tensors.
 *
 * Nothing in the file is trusted. Reads are bounded, integers checked, counts limited, and every tensor's range
 * lies inside the file and overlaps no other before anyone sees it. Layout: the GGUF specification of ggml.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { rowBytes, TENSOR_TYPES, type TensorType, type WeightSource } from '../backend/tensor.ts';
import { type ByteSource, GgufCursor } from './gguf-cursor.ts';
import { GgufError, namingFile, quoted } from './gguf-error.ts';
import { GGUF_LIMITS, type GgufMetadata, readMetadata } from './gguf-metadata.ts';

export interface GgufTensor {
  readonly name: string;
  readonly type: TensorType;
  /** Fastest-varying dimension first, as in the file: `[columns, rows, ...]`. */
  readonly shape: readonly number[];
  /** From the start of the file, in bytes. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface GgufFile {
  readonly path: string;
  readonly fileSize: number;
  readonly version: number;
  readonly alignment: number;
  /** Where the tensor data begins. */
  readonly dataOffset: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /**
   * The tensor as a backend loads it: `columns` is the first dimension, `rows` the product of the others.
   * Throws {@link GgufError} if there is none of this name.
   */
  weight(name: string): WeightSource;
}

const MAGIC = 0x46554747;
const RANK_LIMIT = 4;
/** ggml reserves 64 bytes for a name, the last of them for a terminator. */
const NAME_BYTES = 64;
const DEFAULT_ALIGNMENT = 32;

const TYPES_BY_ID = new Map<number, TensorType>(
  Object.entries(TENSOR_TYPES).map(([type, { ggmlId }]) => [ggmlId, type as TensorType]),
);

/** Types of ggml that Gemma Sidecar does not read, for messages. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
};

/**
 * Opens `path`, reads its header and closes it. Throws {@link GgufError} that names the file, or the system's error if
 * it cannot be opened.
 */
export function readGguf(path: string): GgufFile {
  const descriptor = openSync(path, 'r');
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile()) {
      throw new GgufError('notGguf', 'file', 0, `${path} is a folder or a device, not a file.`);
    }
    const source: ByteSource = {
      size: status.size,
      read: (target, length, position) => readFully(descriptor, target, length, position),
    };
    return namingFile(path, () => parseGguf(source, path));
  } finally {
    closeSync(descriptor);
  }
}

function readFully(descriptor: number, target: Uint8Array, length: number, position: number): number {
  let done = 0;
  while (done < length) {
    const got = readSync(descriptor, target, done, length - done, position + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}

/** As {@link readGguf}, over bytes that are already at hand; errors do not name a file. */
export function parseGguf(source: ByteSource, path: string): GgufFile {
  const cursor = new GgufCursor(source, GGUF_LIMITS.headerBytes);
  const version = readVersion(cursor);
  const tensorCount = cursor.length('tensor count', GGUF_LIMITS.tensors, 'tensors');
  const keyCount = cursor.length('key count', GGUF_LIMITS.keys, 'keys');
  const metadata = readMetadata(cursor, keyCount);
  const alignment = readAlignment(metadata);

  const declared: DeclaredTensor[] = [];
  for (let i = 0; i < tensorCount; i++) declared.push(readTensor(cursor, i, alignment));
  const dataOffset = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = placeTensors(declared, dataOffset, source.size);

  return {
    path,
    fileSize: source.size,
    version,
    alignment,
    dataOffset,
    metadata,
    tensors,
    weight(name) {
      const tensor = tensors.get(name);
      if (tensor === undefined) {
        throw new GgufError('missing', name, 0, `The file has no tensor ${quoted(name)}, which is needed.`);
      }
      const [columns = 1, ...others] = tensor.shape;
      return {
        name,
        type: tensor.type,
        rows: others.reduce((product, dimension) => product * dimension, 1),
        columns,
        data: { path, fileSize: source.size, offset: tensor.offset, byteLength: tensor.byteLength },
      };
    },
  };
}

function readVersion(cursor: GgufCursor): number {
  const magic = cursor.u32('magic');
  if (magic !== MAGIC) {
    throw new GgufError(
      'notGguf',
      'magic',
      0,
      `The file is not a GGUF file: it starts with bytes 0x${magic.toString(16).padStart(8, '0')} instead of "GGUF". Choose a Gemma 3 model in GGUF format.`,
    );
  }
  const version = cursor.u32('version');
  if (version === 2 || version === 3) return version;
  if (version !== 0 && (version & 0xffff) === 0) {
    throw new GgufError(
      'unsupported',
      'version',
      4,
      'This GGUF file is big-endian; only little-endian files are read. Convert it, or download the usual variant.',
    );
  }
  throw new GgufError(
    'unsupported',
    'version',
    4,
    `GGUF version ${version} is not supported; versions 2 and 3 are. ${version < 2 ? 'Convert the model again with a current converter.' : 'The file is damaged, or newer than this program.'}`,
  );
}

function readAlignment(metadata: GgufMetadata): number {
  const alignment = metadata.optionalUnsigned('general.alignment') ?? DEFAULT_ALIGNMENT;
  if (alignment < 32 || alignment > 4096 || (alignment & (alignment - 1)) !== 0) {
    const at = metadata.byteOffset('general.alignment');
    throw new GgufError(
      'invalid',
      'general.alignment',
      at,
      `general.alignment is ${alignment}; it must be a power of two from 32 to 4096 (byte ${at}).`,
    );
  }
  return alignment;
}

interface DeclaredTensor {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Relative to the data section. */
  readonly relativeOffset: number;
  /** Where the entry stands in the header. */
  readonly entryOffset: number;
}

function readTensor(cursor: GgufCursor, index: number, alignment: number): DeclaredTensor {
  const entryOffset = cursor.position;
  const name = cursor.string(`tensor ${index} name`, NAME_BYTES);
  const label = `tensor ${quoted(name)}`;
  const invalid = (part: string, sentence: string): GgufError =>
    new GgufError('invalid', `${name}.${part}`, entryOffset, `${sentence} (entry at byte ${entryOffset}).`);
  if (name === '') throw invalid('name', `The name of tensor ${index} is empty`);

  const rank = cursor.u32(`${label} rank`);
  if (rank < 1 || rank > RANK_LIMIT) {
    throw invalid('rank', `${label} has ${rank} dimensions; 1 to ${RANK_LIMIT} are allowed`);
  }
  const shape: number[] = [];
  let elements = 1;
  for (let d = 0; d < rank; d++) {
    const dimension = cursor.u64(`${label} dimension ${d}`);
    // Division instead of multiplication: the product itself could be rounded and pass.
    if (dimension < 1 || dimension > Math.floor(Number.MAX_SAFE_INTEGER / 8 / elements)) {
      throw invalid(
        'shape',
        `${label} has a shape [${[...shape, dimension].join(', ')}] that is empty or too large`,
      );
    }
    shape.push(dimension);
    elements *= dimension;
  }

  const typeId = cursor.u32(`${label} type`);
  const type = TYPES_BY_ID.get(typeId);
  if (type === undefined) {
    throw new GgufError(
      'unsupported',
      `${name}.type`,
      entryOffset,
      `${label} has type ${OTHER_TYPES[typeId] ?? typeId}, which is not supported. Use a file with one of: ${Object.keys(TENSOR_TYPES).join(', ')}.`,
    );
  }
  const columns = shape[0]!;
  const { blockSize } = TENSOR_TYPES[type];
  if (columns % blockSize !== 0) {
    throw invalid(
      'shape',
      `${label} has rows of ${columns} values; ${type} needs a multiple of ${blockSize}`,
    );
  }
  const byteLength = (elements / columns) * rowBytes(type, columns);

  const relativeOffset = cursor.u64(`${label} offset`);
  if (relativeOffset % alignment !== 0) {
    throw invalid('offset', `${label} starts at offset ${relativeOffset}, not a multiple of ${alignment}`);
  }
  return { name, type, shape, byteLength, relativeOffset, entryOffset };
}

/** Turns relative offsets into absolute ones; refuses duplicates, overlaps and ends beyond the file. */
function placeTensors(
  declared: readonly DeclaredTensor[],
  dataOffset: number,
  fileSize: number,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  const byOffset = declared.toSorted((a, b) => a.relativeOffset - b.relativeOffset);
  let previous: DeclaredTensor | undefined;
  for (const tensor of byOffset) {
    if (previous !== undefined && previous.relativeOffset + previous.byteLength > tensor.relativeOffset) {
      throw new GgufError(
        'invalid',
        `${tensor.name}.offset`,
        tensor.entryOffset,
        `Tensors ${quoted(previous.name)} and ${quoted(tensor.name)} overlap at offset ${tensor.relativeOffset} (entry at byte ${tensor.entryOffset}).`,
      );
    }
    previous = tensor;
  }
  if (previous !== undefined) {
    const need = dataOffset + previous.relativeOffset + previous.byteLength;
    if (!Number.isSafeInteger(need) || need > fileSize) {
      throw new GgufError(
        'incomplete',
        `${previous.name}.offset`,
        previous.entryOffset,
        `The file is incomplete: it has ${fileSize} bytes and needs ${need}. Download or copy it again.`,
      );
    }
  }
  for (const { name, type, shape, byteLength, relativeOffset, entryOffset } of declared) {
    if (tensors.has(name)) {
      throw new GgufError(
        'invalid',
        `${name}.name`,
        entryOffset,
        `Tensor ${quoted(name)} is listed twice (entry at byte ${entryOffset}).`,
      );
    }
    tensors.set(name, { name, type, shape, offset: dataOffset + relativeOffset, byteLength });
  }
  return tensors;
}
