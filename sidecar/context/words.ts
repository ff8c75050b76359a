/** Text as words to search for: identifiers whole and in their parts, each cut to a stem. */

const WORD = /[\p{L}\p{N}_$]+/gu;
/** The same for text of ASCII alone, several times as fast. */
const ASCII_WORD = /[A-Za-z0-9_$]+/g;
const OTHER_THAN_ASCII = /[^\0-\x7f]/;

/** Identifiers and words as they stand in a text. */
export function identifiersOf(text: string): readonly string[] {
  return text.match(OTHER_THAN_ASCII.test(text) ? WORD : ASCII_WORD) ?? [];
}

/** The stems of each identifier, whole without its underscores (so that rms_norm meets rmsNorm), then of its parts. */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const identifier of identifiersOf(text)) {
    const parts = partsOf(identifier);
    words.push(stem(wholeOf(identifier)));
    if (parts.length > 1) for (const part of parts) words.push(stem(part.toLowerCase()));
  }
  return words;
}

/** An identifier as one word, whatever convention joins its parts. */
export function wholeOf(identifier: string): string {
  return identifier.replace(/[_$]/g, '').toLowerCase() || identifier;
}

/** camelCase, PascalCase, snake_case and UPPER_CASE parts. */
export function partsOf(identifier: string): string[] {
  return identifier
    .replace(/(\p{Ll}|\p{N})(\p{Lu})/gu, '$1 $2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
    .split(/[\s_$]+/)
    .filter((part) => part !== '');
}

/** Longer words are no words of a language; they stand as they are. */
const LONGEST_STEMMED = 32;
const ENDINGS = ['ing', 'ed', 'er', 'ion', 'able'] as const;

/**
 * A light stem: "decode", "decodes", "decoded", "decoding" and "decoder" meet, "quantise" meets "quantization". Two words
 * that meet by mistake cost little, because a question has others.
 */
export function stem(word: string): string {
  if (word.length < 4 || word.length > LONGEST_STEMMED) return word;
  let rest = singular(word);
  for (const ending of ENDINGS) {
    const before = rest.slice(0, -ending.length);
    if (before.length < 3 || !rest.endsWith(ending) || !/[aeiouy]/.test(before)) continue;
    rest = before.endsWith('isat') || before.endsWith('izat') ? before.slice(0, -2) : before;
    break;
  }
  if (/([bdfglmnprt])\1$/.test(rest)) rest = rest.slice(0, -1); // "cancelled" and "cancel"
  if (rest.length > 3 && rest.endsWith('e')) rest = rest.slice(0, -1);
  return rest.length > 4 && rest.endsWith('iz') ? `${rest.slice(0, -1)}s` : rest;
}

function singular(word: string): string {
  if (/ie[sd]$/.test(word)) return word.length > 4 ? `${word.slice(0, -3)}y` : word.slice(0, -1);
  return word.endsWith('s') && !word.endsWith('ss') ? word.slice(0, -1) : word;
}
