/** Byte-pair training in its plainest form, to give tests a vocabulary with the structure of a real one. */

export interface TrainedMerges {
  /** Every character of the text, then the result of each merge in order. Spaces are written as U+2581. */
  readonly pieces: readonly string[];
  /** "left right" of each merge, in order. */
  readonly merges: readonly string[];
}

/** Merges the most frequent neighbours of the words in `text` (a word takes the space before it) `count` times. */
export function trainMerges(text: string, count: number): TrainedMerges {
  const frequency = new Map<string, number>();
  for (const [word] of text.matchAll(/ ?[^\s]+/gu)) frequency.set(word, (frequency.get(word) ?? 0) + 1);
  const words = Array.from(frequency, ([word, times]) => ({ symbols: [...word.replace(' ', '▁')], times }));
  const pieces = new Set(words.flatMap(({ symbols }) => symbols));
  const merges: string[] = [];
  while (merges.length < count) {
    const pairs = new Map<string, number>();
    for (const { symbols, times } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const pair = `${symbols[i]} ${symbols[i + 1]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + times);
      }
    }
    let best = '';
    let most = 1;
    for (const [pair, times] of pairs) {
      if (times > most) {
        best = pair;
        most = times;
      }
    }
    if (best === '') break;
    merges.push(best);
    const merged = best.replace(' ', '');
    pieces.add(merged);
    const [left, right] = best.split(' ');
    for (const { symbols } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, merged);
      }
    }
  }
  return { pieces: [...pieces], merges };
}
