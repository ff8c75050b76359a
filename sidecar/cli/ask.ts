/** `ask`: a question about a repository, answered in the terminal as the chat view would. */
import path from 'node:path';
import { RepositoryContext } from '../context/pack.ts';
import { type ChatAnswer, ChatSession, type ChatSink } from '../session/chat-session.ts';
import { ImageLibrary } from '../session/image-library.ts';
import { ModelHost } from '../session/model-host.ts';
import { type CliContext, type Command, UsageError } from './command.ts';
import { type AttachedImage, attachImages } from './images.ts';
import { flag, textList, textOption } from './options.ts';
import { ProgressLine } from './progress-line.ts';
import { reuseLine } from './reuse-line.ts';

export const command: Command = {
  name: 'ask',
  summary: 'Answers a question about a repository (default: the current folder), streaming',
  usage:
    '[--repo DIR | --no-repo] [--pin PATH]... [--drop PATH]... [--image FILE]... [--read-details] QUESTION',
  options: {
    repo: { type: 'string' },
    'no-repo': { type: 'boolean' },
    pin: { type: 'string', multiple: true },
    drop: { type: 'string', multiple: true },
    image: { type: 'string', multiple: true },
    'read-details': { type: 'boolean' },
  },
  async run(context) {
    const question = context.positionals.join(' ').trim();
    if (question === '') throw new UsageError('ask needs a question');
    const { answer, images } = await ask(context, question);
    for (const note of answer.notes) context.log(note);
    if (answer.stopReason === 'length')
      context.log(`The answer was cut after ${answer.generatedTokens} tokens.`);
    if (answer.stopReason === 'repetition')
      context.log('The answer was ended because it kept repeating itself.');
    if (answer.stopReason === 'cancelled') {
      throw new Error(`Interrupted; ${answer.keptTokens.toLocaleString('en-US')} tokens kept.`);
    }
    context.log(leftOutLine(answer));
    context.log(reuseLine(answer));
    context.result({
      answer: answer.text,
      prompt_tokens: answer.promptTokens,
      cached_tokens: answer.cachedTokens,
      disk_tokens: answer.restoredTokens,
      read_tokens: answer.promptTokens - answer.cachedTokens,
      miss: answer.cacheMiss ?? null,
      generated_tokens: answer.generatedTokens,
      prefill_ms: answer.prefillMs,
      decode_ms: answer.decodeMs,
      files: answer.files,
      ...(images.length > 0 && {
        images: images.map(({ file, encoded: { id, width, height, tokens, cached, ms } }) => {
          return { file, id, width, height, tokens, cached, ms };
        }),
      }),
    });
  },
};

interface Asked {
  readonly answer: ChatAnswer;
  readonly images: readonly AttachedImage[];
}

async function ask(context: CliContext, question: string): Promise<Asked> {
  const folder = path.resolve(textOption(context.values, 'repo') ?? '.');
  const withRepository = !flag(context.values, 'no-repo');
  const { cacheFolder } = context.common;
  const repository = withRepository ? new RepositoryContext([{ folder, label: null }], cacheFolder) : null;
  const line = new ProgressLine(process.stderr);
  const host = new ModelHost(({ modelPath: _, signal: _signal, ...options }) => context.loadEngine(options));
  await host.select(context.modelPath(), {});
  const engine = await host.engine();
  try {
    const library = new ImageLibrary(host);
    const files = textList(context.values, 'image');
    const images = await attachImages(files, library, flag(context.values, 'read-details'), context, line);
    const answer = await new ChatSession(host, library).ask(
      {
        turns: [{ role: 'user', text: question, images }],
        repository,
        choice: { pinned: textList(context.values, 'pin'), dropped: textList(context.values, 'drop') },
      },
      sink(context, line),
      context.signal,
    );
    return { answer, images };
  } finally {
    line.clear();
    await engine.dispose();
  }
}

function sink(context: CliContext, line: ProgressLine): ChatSink {
  return {
    progress: ({ phase, done, total, secondsLeft, fileCount }) => {
      if (phase === 'gathering') line.show(`Finding files: ${done} of ${total}`);
      if (phase === 'reading' && fileCount !== undefined) {
        line.keep(`Reading ${fileCount} files, ${total.toLocaleString('en-US')} tokens`);
      } else if (phase === 'reading') {
        const left = secondsLeft === undefined ? '' : `, ${Math.ceil(secondsLeft)} s left`;
        line.show(`Reading: ${Math.floor((100 * done) / Math.max(1, total))} %${left}`);
      }
      if (phase === 'answering') line.clear();
    },
    delta: (text) => {
      line.clear();
      context.print(text);
    },
  };
}

/** One line on what the model did not see. */
function leftOutLine({ leftOut, files }: ChatAnswer): string {
  if (leftOut.length === 0) return `\nAll ${files.length} files were read.`;
  const counts = new Map<string, number>();
  for (const { reason } of leftOut) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const reasons = [...counts].map(([reason, count]) => `${count} ${REASONS[reason] ?? reason}`).join(', ');
  const outlined = files.filter(({ as }) => as === 'outline').length;
  const read = new Set(files.filter(({ as }) => as !== 'outline').map((f) => f.path)).size;
  return `\n${read} files were read${outlined > 0 ? `, ${outlined} outlined` : ''}; left out: ${reasons}.`;
}

const REASONS: Readonly<Record<string, string>> = {
  dropped: 'dropped',
  budget: 'wholly or partly for lack of room',
  'lock-file': 'lock files',
  large: 'too large',
  link: 'links',
};
