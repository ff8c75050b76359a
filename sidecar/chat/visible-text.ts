/**
 * Model output is data: control characters and characters that change the direction or hide text are replaced by a
 * visible form, so that what a person reads is what is there.
 */
const HIDDEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

export function visibleText(text: string): string {
  return text.replace(HIDDEN, (c) => {
    if (c === '\r') return '';
    return `\\u{${c.codePointAt(0)!.toString(16)}}`;
  });
}
