/** Text of a model with nothing hidden in it. */

// Controls other than tab and line breaks, directional overrides and isolates, zero-width characters that join or
// separate without being seen, and the tag characters, which spell invisible words.
const HIDDEN =
  /(?![\t\n])[\p{Cc}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;

/**
 * Shows each hidden character as its code point, so that what is copied or inserted is what was seen; line ends of any
 * form become `\n`.
 */
export function visibleText(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(HIDDEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
}
