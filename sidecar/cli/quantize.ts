/** `quantize`: a GGUF file with its matrices in another type. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { TENSOR_TYPES, type TensorType } from '../engine/backend/tensor.ts';
import { readGemma3Config } from '../engine/model/config.ts';
import { type GgufTensor, readGguf } from '../engine/model/gguf.ts';
import type { GgufValue } from '../engine/model/gguf-metadata.ts';
import { writeGguf } from '../engine/model/gguf-writer.ts';
import { fitsType, requantized, type TensorReport } from '../engine/model/requantize.ts';
import { type CliContext, type Command, UsageError } from './command.ts';
import { choiceOption } from './options.ts';

/** llama.cpp's numbers for `general.file_type`. */
const FILE_TYPES = { q4_0: 2, q8_0: 7, f16: 1 } as const;
const BODY_TYPES = { q4_0: 'Q4_0', q8_0: 'Q8_0', f16: 'F16' } as const;
type BodyName = keyof typeof BODY_TYPES;

const EMBEDDINGS = new Set(['token_embd.weight', 'output.weight']);

export const command: Command = {
  name: 'quantize',
  summary: 'Writes a GGUF file with its matrices in another type; --embedding is f16 unless given',
  usage: 'IN OUT --type q4_0|q8_0|f16 [--embedding TYPE]',
  options: { type: { type: 'string' }, embedding: { type: 'string' } },
  async run(context) {
    const { input, output, body, embedding } = readArguments(context);
    const gguf = readGguf(input);
    readGemma3Config(gguf);
    const typeOf = ({ name, shape, type }: GgufTensor): TensorType => {
      // Norms and what belongs to an image tower stay as they are.
      if (shape.length === 1 || /^(v|mm)\./.test(name)) return type;
      return EMBEDDINGS.has(name) ? embedding : BODY_TYPES[body];
    };
    for (const tensor of gguf.tensors.values()) {
      if (!fitsType(tensor, typeOf(tensor))) {
        const { name, shape } = tensor;
        throw new Error(
          `${name} has rows of ${shape[0]} values; ${typeOf(tensor)} needs a multiple of ${TENSOR_TYPES[typeOf(tensor)].blockSize}. Choose another type.`,
        );
      }
    }
    const metadata: Record<string, GgufValue> = {};
    for (const key of gguf.metadata.keys()) metadata[key] = gguf.metadata.get(key)!;
    metadata['general.file_type'] = { kind: 'integer', type: 'u32', value: FILE_TYPES[body] };

    const tensors: TensorReport[] = [];
    const written = requantized(gguf, typeOf, (report) => {
      context.signal.throwIfAborted();
      tensors.push(report);
      context.print(
        `${report.name}: ${report.from} -> ${report.to}, ${report.bytes} bytes, relative error ${report.relativeError.toExponential(2)}\n`,
      );
    });
    writeGguf(output, metadata, written);
    const outputBytes = readGguf(output).fileSize;
    context.print(`${output}: ${outputBytes} bytes, from ${gguf.fileSize}\n`);
    context.result({
      input_bytes: gguf.fileSize,
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
