/**
 * A conversation in Gemma's form. Structure (`<bos>`, turns) is written as ids; everything a person, a file or the
 * model wrote is encoded as text, so none of it can forge structure.
 *
 * The first turn holds rules, files and question; its head does not change between turns, so its KV can be reused. What changed
 * since the files were read stands in the turn that first tells it, so that an edit leaves the conversation before it as it was.
 * Every part begins with a run of line feeds after text that does not end in one. Such runs are pieces of their own in
 * Gemma vocabularies, so parts encoded one by one give the same ids as the whole text: counts are exact and can be
 * kept per file.
 */
import type { Tokenizer } from '../engine/tokenizer/tokenizer.ts';
import { type ImageEmbedding, imageIds, type PromptImage } from '../engine/vision/prompt-image.ts';
import { fileBlock, type PromptFile } from './file-block.ts';
import { type IndexFact, indexBlock } from './index-block.ts';

export const RULES = 'Answer questions about this repository. Cite files as path:line.';

/** An image as a question shows it: whole, and perhaps parts of it at a larger scale. */
export interface ShownImage {
  /** For a person. */
  readonly name: string;
  readonly whole: ImageEmbedding;
  readonly crops: readonly ImageEmbedding[];
}

export interface PromptTurn {
  readonly role: 'user' | 'model';
  readonly text: string;
  /** What changed in the repository since this was last told: blocks of text, oldest first. */
  readonly changes?: readonly string[];
  /** Images of this question; they stand before its text. */
  readonly images?: readonly ShownImage[];
  /** Files or selections attached to this question. */
  readonly attachments?: readonly PromptFile[];
  /** What the symbol index has on names in this question. */
  readonly index?: readonly IndexFact[];
  /** The ids the model itself produced for `text`, so that its KV is found again. */
  readonly ids?: ArrayLike<number>;
}

export interface ChatPrompt {
  readonly ids: Uint32Array;
  /** Prompt length after rules and files; 0 without a repository. */
  readonly repositoryEnd: number;
  /** Prompt length after each turn, the last being the whole prompt. */
  readonly turnEnds: readonly number[];
  /** Prompt length before the last question, its images, attachments and facts: what can be read before it is asked. */
  readonly questionStart: number;
  readonly images: readonly PromptImage[];
}

/** `files` is null when no repository is sent along; ids of a file's part may be given to save encoding it again. */
export function chatPrompt(
  tokenizer: Tokenizer,
  turns: readonly PromptTurn[],
  files: readonly (PromptFile & { readonly ids?: ArrayLike<number> })[] | null,
): ChatPrompt {
  const { bos, startOfTurn, endOfTurn } = tokenizer.special;
  const ids: number[] = [bos];
  const append = (more: ArrayLike<number>) => {
    for (let i = 0; i < more.length; i++) ids.push(more[i]!);
  };
  const turnEnds: number[] = [];
  const images: PromptImage[] = [];
  const appendImage = (image: ShownImage) => {
    const layout = layOut(tokenizer, image);
    for (const { position, embedding } of layout.images)
      images.push({ position: ids.length + position, embedding });
    append(layout.ids);
  };
  let repositoryEnd = 0;
  let questionStart = 0;
  turns.forEach((turn, index) => {
    ids.push(startOfTurn);
    if (turn.role === 'model') {
      append(tokenizer.encode('model\n'));
      append(turn.ids ?? tokenizer.encode(turn.text));
    } else {
      const changes = (turn.changes ?? []).join('\n\n');
      let start = 'user\n';
      if (index === 0 && files !== null) {
        append(tokenizer.encode(`user\n${RULES}`));
        for (const file of files) append(file.ids ?? encodeFile(tokenizer, file));
        repositoryEnd = ids.length;
        start = '\n\n';
      }
      if (changes !== '') {
        append(tokenizer.encode(start + changes));
        start = '\n\n';
      }
      questionStart = ids.length;
      const [firstImage] = turn.images ?? [];
      if (firstImage !== undefined) {
        // A blank line stands before an image anyway.
        if (start !== '\n\n' || firstImage.crops.length > 0) append(tokenizer.encode(start));
        for (const image of turn.images ?? []) appendImage(image);
        start = '';
      }
      append(tokenizer.encode(start + question(turn, files !== null)));
    }
    ids.push(endOfTurn);
    append(tokenizer.encode('\n'));
    turnEnds.push(ids.length);
  });
  ids.push(startOfTurn);
  append(tokenizer.encode('model\n'));
  turnEnds[turnEnds.length - 1] = ids.length;
  return { ids: Uint32Array.from(ids), repositoryEnd, turnEnds, questionStart, images };
}

/** Positions that an image takes in a prompt, with what stands around it. */
export function imagePositions(tokenizer: Tokenizer, image: ShownImage): number {
  return layOut(tokenizer, image).ids.length;
}

/** As Gemma 3 was trained to see crops (gemma_pytorch, gemma3_preprocessor.py). */
const BEFORE_WHOLE = 'here is the original image';
const BEFORE_CROPS = 'and here are some crops to help you see better';

/**
 * Each image between blank lines and markers, as Google's own code lays it out. The blank line before the first one is a
 * piece of its own even behind a line feed.
 */
function layOut(
  tokenizer: Tokenizer,
  { whole, crops }: ShownImage,
): { readonly ids: readonly number[]; readonly images: readonly PromptImage[] } {
  const { startOfImage, endOfImage } = tokenizer.special;
  if (startOfImage === null || endOfImage === null)
    throw new RangeError('The vocabulary has no pieces that stand around an image.');
  const blank = tokenizer.encode('\n\n');
  const ids: number[] = [];
  const images: PromptImage[] = [];
  const show = (embedding: ImageEmbedding) => {
    ids.push(...blank, startOfImage);
    images.push({ position: ids.length, embedding });
    ids.push(...imageIds(embedding), endOfImage, ...blank);
  };
  if (crops.length > 0) ids.push(...tokenizer.encode(BEFORE_WHOLE));
  show(whole);
  if (crops.length > 0) ids.push(...tokenizer.encode(BEFORE_CROPS));
  for (const crop of crops) show(crop);
  return { ids, images };
}

/** Ids of a file's part of the prompt, the separating blank line included. */
export function encodeFile(tokenizer: Tokenizer, file: PromptFile): Uint32Array {
  return tokenizer.encode(`\n\n${fileBlock(file)}`);
}

function question(turn: PromptTurn, inRepository: boolean): string {
  const text = turn.text.replace(/\r\n?/g, '\n').trim();
  const blocks = (turn.attachments ?? []).map(fileBlock);
  if (turn.index && turn.index.length > 0) blocks.push(indexBlock(turn.index));
  if (blocks.length === 0 && !inRepository) return text;
  return [...blocks, `Question: ${text}`].join('\n\n');
}
