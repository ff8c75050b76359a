/** Of what the index knows of a name, what a question about it asks for; training/pipeline/question_facts.py has the same rules. */
import type { IndexFact } from '../../prompt/index-block.ts';

/** Words of a question about who uses something. */
const ABOUT_USE =
  /\b(?:uses?|used|using|usage|calls?|called|callers?|depends?|dependents?|referenced?|references|who|which|everywhere|rename)\b/i;
const ABOUT_IMPORTS = /\bimport(?:s|ed|ing|ers?)?\b/i;
/** Words of a question that asks for more than who imports something. */
const ABOUT_MORE = /\b(?:defin\w*|holds?|do|does|takes?|returns?)\b|\bwhere is (?!.*\bimported\b)/i;

/**
 * The facts that a question is about: each further place beside it is one more to mistake for the answer. Imports where it
 * asks for them, definitions where it does not, both where it asks about use.
 */
export function askedFor(question: string, facts: readonly IndexFact[]): readonly IndexFact[] {
  const imported = facts.filter(({ kind }) => kind === 'imported');
  const others = facts.filter(({ kind }) => kind !== 'imported');
  if (imported.length === 0 || others.length === 0) return facts;
  if (ABOUT_IMPORTS.test(question)) return ABOUT_MORE.test(question) ? facts : imported;
  return ABOUT_USE.test(question) ? facts : others;
}
