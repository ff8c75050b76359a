/** Parts of other open documents that a completion should know: what they define is likely what is typed next. */
import { chunksOf } from '../context/chunks.ts';
import { queryOf } from '../context/question.ts';
import { passageOf, scorePassages } from '../context/relevance.ts';
import type { PromptFile } from '../prompt/file-block.ts';

const PARTS = 2;
const PART_CHARACTERS = 400;
/** Text before the cursor that says what is being written. */
const CLUE_CHARACTERS = 1500;
/** Documents longer than this are not searched: this runs between two key strokes. */
const MAX_CHARACTERS = 60_000;
const MAX_DOCUMENTS = 8;

/** The same until another paragraph is begun, so that the prompt's head, and with it the KV cache, stays the same. */
export function relatedParts(prefix: string, documents: readonly PromptFile[]): readonly PromptFile[] {
  const paragraph = prefix.lastIndexOf('\n\n');
  if (paragraph < 0) return [];
  const query = queryOf([prefix.slice(Math.max(0, paragraph - CLUE_CHARACTERS), paragraph)]);
  const parts = documents
    .filter(({ text }) => text.length <= MAX_CHARACTERS)
    .slice(0, MAX_DOCUMENTS)
    .flatMap(({ path, text }) =>
      chunksOf(text, PART_CHARACTERS).map((chunk): PromptFile => ({ path, text: chunk.text, lines: chunk })),
    );
  const scores = scorePassages(
    parts.map(({ text }) => passageOf('', text)),
    query,
  );
  return parts
    .map((part, i) => ({ part, score: scores[i]! }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, PARTS)
    .map(({ part }) => part);
}
