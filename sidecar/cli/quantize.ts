/** `quantize`: a GGUF file, or a Hugging Face checkpoint, as a GGUF file with its matrices in the chosen type. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { TENSOR_TYPES, type TensorType } from '../engine/backend/tensor.ts';
import { readGemma3Config } from '../engine/model/config.ts';
import { readGguf } from '../engine/model/gguf.ts';
import { namingFile } from '../engine/model/gguf-error.ts';
import { GgufMetadata, type GgufValue } from '../engine/model/gguf-metadata.ts';
import { writeGguf } from '../engine/model/gguf-writer.ts';
import { type Checkpoint, isCheckpoint, readCheckpoint } from '../engine/model/huggingface/checkpoint.ts';
import { fitsType, requantized, type SourceTensor, type TensorReport } from '../engine/model/requantize.ts';
import { loadTokenizer } from '../engine/tokenizer/from-gguf.ts';
import { type CliContext, type Command, UsageError } from './command.ts';
import { choiceOption } from './options.ts';

/** llama.cpp's numbers for `general.file_type`. */
const FILE_TYPES = { q4_0: 2, q8_0: 7, f16: 1 } as const;
const BODY_TYPES = { q4_0: 'Q4_0', q8_0: 'Q8_0', f16: 'F16' } as const;
type BodyName = keyof typeof BODY_TYPES;

const EMBEDDINGS = new Set(['token_embd.weight', 'output.weight']);

export const command: Command = {
  name: 'quantize',
  summary: 'Writes a GGUF file from another or from safetensors; --embedding is f16 unless given',
  usage: 'IN OUT --type q4_0|q8_0|f16 [--embedding TYPE]',
  options: { type: { type: 'string' }, embedding: { type: 'string' } },
  async run(context) {
    const { input, output, body, embedding } = readArguments(context);
    const source = readSource(input);
    namingFile(input, () => checkPlan(source));
    for (const note of source.notes) context.log(note);
    const typeOf = ({ name, shape, type }: SourceTensor): TensorType => {
      // What belongs to an image tower stays as it is; norms are F32 in every GGUF file.
      if (/^(v|mm)\./.test(name)) return type;
      if (shape.length === 1) return 'F32';
      return EMBEDDINGS.has(name) ? embedding : BODY_TYPES[body];
    };
    for (const tensor of source.tensors) {
      if (!fitsType(tensor, typeOf(tensor))) {
        const { name, shape } = tensor;
        throw new Error(
          `${name} has rows of ${shape[0]} values; ${typeOf(tensor)} needs a multiple of ${TENSOR_TYPES[typeOf(tensor)].blockSize}. Choose another type.`,
        );
      }
    }
    const metadata: Record<string, GgufValue> = {
      ...source.metadata,
      'general.file_type': { kind: 'integer', type: 'u32', value: FILE_TYPES[body] },
    };

    const tensors: TensorReport[] = [];
    const written = requantized(source.tensors, typeOf, (report) => {
      context.signal.throwIfAborted();
      tensors.push(report);
      context.print(
        `${report.name}: ${report.from} -> ${report.to}, ${report.bytes} bytes, relative error ${report.relativeError.toExponential(2)}\n`,
      );
    });
    writeGguf(output, metadata, written);
    const outputBytes = readGguf(output).fileSize;
    context.print(`${output}: ${outputBytes} bytes, from ${source.bytes}\n`);
    context.result({
      input_bytes: source.bytes,
      output_bytes: outputBytes,
      tensors: tensors.map(({ name, from, to, bytes, relativeError }) => ({
        name,
        from,
        to,
        bytes,
        relative_error: relativeError,
      })),
    });
  },
};

interface Source extends Checkpoint {
  readonly bytes: number;
}

function readSource(input: string): Source {
  if (isCheckpoint(input)) {
    const checkpoint = readCheckpoint(input);
    return { ...checkpoint, bytes: checkpoint.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0) };
  }
  const gguf = readGguf(input);
  const keys = gguf.metadata.keys();
  return {
    metadata: Object.fromEntries(keys.map((key) => [key, gguf.metadata.get(key)!])),
    tensors: [...gguf.tensors.values()].map((tensor) => ({ ...tensor, path: input, addend: 0 })),
    notes: [],
    bytes: gguf.fileSize,
  };
}

/** Refuses what would be written if no program could load it, before anything is. */
function checkPlan({ metadata, tensors }: Checkpoint): void {
  const entries = Object.entries(metadata).map(([key, value]) => [key, { value, byteOffset: 0 }] as const);
  const planned = {
    metadata: new GgufMetadata(new Map(entries)),
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
  };
  loadTokenizer(planned, readGemma3Config(planned).config.vocabulary);
}

interface Arguments {
  readonly input: string;
  readonly output: string;
  readonly body: BodyName;
  readonly embedding: TensorType;
}

function readArguments({ values, positionals }: CliContext): Arguments {
  const [input, output, unexpected] = positionals;
  if (input === undefined || output === undefined || unexpected !== undefined) {
    throw new UsageError('quantize needs an input and an output file');
  }
  const body = choiceOption(values, 'type', Object.keys(BODY_TYPES) as BodyName[]);
  if (body === undefined) throw new UsageError('--type is needed');
  const names = Object.keys(TENSOR_TYPES).map((type) => type.toLowerCase());
  const embedding = choiceOption(values, 'embedding', names) ?? 'f16';
  if (existsSync(output) && path.resolve(input) === path.resolve(output)) {
    throw new UsageError('The output must be another file than the input');
  }
  return { input, output, body, embedding: embedding.toUpperCase() as TensorType };
}
