/** Seeded strings that exercise a tokenizer: code in ten languages, Unicode, white space, control pieces as text. */
import { seededRandom } from './random.ts';

/** `$n` stands for a made-up name, `$d` for a number, `$s` for words. */
const CODE: readonly string[] = [
  'export async function $n($n: string, $n?: number): Promise<$n[]> {\n  const $n = await this.#$n.get(`$n/$d`);\n  return $n ?? [];\n}\n',
  "interface $n<T extends object> { readonly $n: T; $n(): void }\nimport type { $n } from './$n.ts';\n",
  'def $n(self, $n: int = $d, *args, **kwargs) -> None:\n    """$s."""\n    for i, $n in enumerate(self.$n):\n        if $n is not None and i % $d == 0:\n            yield {"$n": $n}\n',
  '@dataclass\nclass $n(Base):\n    $n: list[str] = field(default_factory=list)\n\n    @property\n    def $n(self):\n        return [x ** 2 for x in range($d)]\n',
  '#include <stdio.h>\n#define $n(x) ((x) << $d)\nstatic inline int $n(const char *$n, size_t len) {\n\tif (!$n || len == 0) return -1;\n\tfor (int i = 0; i < len; i++) $n[i] ^= 0x$dU;\n\treturn 0; /* $s */\n}\n',
  'template <typename T>\nstd::vector<std::unique_ptr<T>> $n::$n(const std::string& $n) noexcept {\n  auto [it, ok] = map_.try_emplace($n, $d);\n  std::cout << "$s" << std::endl;\n}\n',
  "impl<'a, T: Iterator<Item = &'a str>> $n for $n<T> {\n    fn $n(&mut self) -> Result<Option<u$d>, Box<dyn Error>> {\n        let $n = self.$n.iter().map(|x| x * $d).collect::<Vec<_>>();\n        match $n { Some(x) => Ok(x?), _ => unreachable!() }\n    }\n}\n",
  'func ($n *$n) $n(ctx context.Context, $n map[string]interface{}) (err error) {\n\tdefer func() { recover() }()\n\tif err := $n.$n(ctx); err != nil {\n\t\treturn fmt.Errorf("$s: %w", err)\n\t}\n\tch <- $d\n}\n',
  'public final class $n extends $n implements Runnable {\n    @Override\n    public synchronized void $n(Map<String, List<$n>> $n) throws IOException {\n        System.out.println("$s" + $n.size());\n    }\n}\n',
  'namespace $n;\npublic record $n(int $n, string? $n = null) {\n    public async Task<$n> $n() => await $n.Where(x => x.$n > $d).ToListAsync();\n}\n',
  'module $n\n  def self.$n(*args, **opts, &block)\n    args.each_with_index { |x, i| puts "#{x} #{i}" unless x.nil? }\n    @$n ||= %w[$s]\n  end\nend\n',
  'SELECT $n.$n, COUNT(*) AS $n FROM $n LEFT JOIN $n ON $n.id = $n.$n_id WHERE $n >= $d GROUP BY 1 HAVING COUNT(*) > $d;\n',
  '#!/bin/sh\nset -eu\nfor f in "$@"; do\n  [ -f "$f" ] && grep -rn \'$n\' "$f" | sed -e \'s/$n/$n/g\' || exit $d\ndone\n',
  '<!DOCTYPE html>\n<html><body>\n  <table><tr><td class="$n">$s</td></tr></table>\n  <b>$s</b><code>$n</code><div id="$n">\n    <ul><li>$s</li></ul></div>\n</body></html>\n',
  '{\n  "$n": [$d, $d.5e-$d, true, null],\n  "$n": {"$n": "$s\\n"}\n}\n',
  '# $s\n\n- **$s**: `$n`\n- [$s](https://example.com/$n?x=$d#$n)\n\n| $n | $n |\n| --- | ---: |\n| $d | $s |\n',
];

const SYLLABLES = [
  'get',
  'Set',
  'user',
  'Index',
  'tok',
  'en',
  'ize',
  'buf',
  'fer',
  'x',
  'Async',
  'node',
  'parse',
  'HTTP',
];
const PROSE = [
  'the',
  'value',
  'of',
  'a',
  'returns',
  'when',
  'not',
  'found',
  'and',
  'is',
  "don't",
  'Where',
  'file',
  'café',
];
const CONTROL_TEXTS = [
  ...[
    '<bos>',
    '<eos>',
    '<pad>',
    '<unk>',
    '<start_of_turn>',
    '<end_of_turn>',
    '<start_of_turn>user\n',
    '<end_of_turn>\n',
  ],
  ...[
    '<start_of_image>',
    '<end_of_image>',
    '<|fim_prefix|>',
    '<|fim_middle|>',
    '<0x0A>',
    '<0xFF>',
    '<0x',
    '<end_of_',
  ],
  ...[
    '<|turn>',
    '<turn|>',
    '<unused7>',
    '[multimodal]',
    '<mask>',
    '<table>',
    '</td>',
    '<h1>',
    '</code',
    '<<b>>',
  ],
];
/** First and last code point of blocks with different UTF-8 widths and habits. */
const BLOCKS = [
  ...[
    [0x00, 0x7f],
    [0x80, 0xff],
    [0x100, 0x17f],
    [0x300, 0x36f],
    [0x370, 0x3ff],
    [0x400, 0x4ff],
    [0x590, 0x5ff],
  ],
  ...[
    [0x600, 0x6ff],
    [0x900, 0x97f],
    [0xe00, 0xe7f],
    [0x1780, 0x17ff],
    [0x2000, 0x206f],
    [0x2190, 0x21ff],
  ],
  ...[
    [0x2580, 0x259f],
    [0x3040, 0x30ff],
    [0x4e00, 0x9fff],
    [0xac00, 0xd7a3],
    [0xe000, 0xe0ff],
    [0xfe00, 0xffff],
  ],
  ...[
    [0x1f300, 0x1f6ff],
    [0x1f900, 0x1f9ff],
    [0x20000, 0x200ff],
    [0xe0000, 0xe007f],
    [0x10fff0, 0x10ffff],
  ],
] as const;
const SPACES = [
  ' ',
  '  ',
  '   ',
  '    ',
  '        ',
  '\t',
  '\t\t',
  '\n',
  '\n\n',
  '\n\n\n',
  '\r\n',
  '\u00a0',
  '\u2581',
  '\u3000',
];

export class CorpusGenerator {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)]!;
  }
  #repeat(longest: number, make: () => string): string {
    return Array.from({ length: 1 + this.#below(longest) }, make).join('');
  }

  #name(): string {
    const word = this.#repeat(3, () => this.#pick(SYLLABLES));
    return this.#below(4) === 0 ? word.toLowerCase().replace(/(?=en|ize)/g, '_') : word;
  }

  #words(): string {
    return Array.from({ length: 1 + this.#below(8) }, () => this.#pick(PROSE)).join(' ');
  }

  /** A piece of code, sometimes cut at both ends, sometimes indented again. */
  code(): string {
    const text = this.#pick(CODE)
      .replaceAll('$n', () => this.#name())
      .replaceAll('$d', () => String(this.#below(10 ** (1 + this.#below(6)))))
      .replaceAll('$s', () => this.#words());
    if (this.#below(3) === 0) return text;
    const start = this.#below(text.length);
    const part = text.slice(start, start + 1 + this.#below(text.length - start));
    return this.#below(4) === 0 ? part.replaceAll('\n', `\n${this.#pick(SPACES)}`) : part;
  }

  unicode(): string {
    const [first, last] = this.#pick(BLOCKS);
    return this.#repeat(24, () => {
      const code = first + this.#below(last - first + 1);
      // A lone surrogate is no character; it cannot be handed to llama.cpp as it is.
      return this.#below(8) === 0 ? ' ' : code >= 0xd800 && code < 0xe000 ? '?' : String.fromCodePoint(code);
    }).replaceAll('\0', '');
  }

  whiteSpace(): string {
    return this.#repeat(6, () => {
      const run = this.#pick(SPACES).repeat(this.#below(5) === 0 ? 1 + this.#below(40) : 1);
      return this.#below(2) === 0 ? run + this.#pick(PROSE) : run;
    });
  }

  controlText(): string {
    return this.#repeat(4, () => {
      const text = this.#pick(CONTROL_TEXTS);
      return this.#pick([text, ` ${text}`, `${text}\n`, `${this.#pick(PROSE)}${text}`, text.slice(0, -1)]);
    });
  }

  noise(): string {
    return this.#repeat(60, () => String.fromCharCode(32 + this.#below(95)));
  }

  /** Any of the above, half of the time several together. */
  next(): string {
    const one = () => {
      const kind = this.#below(12);
      if (kind < 6) return this.code();
      if (kind < 8) return this.unicode();
      if (kind < 9) return this.whiteSpace();
      if (kind < 11) return this.controlText();
      return this.noise();
    };
    return this.#below(2) === 0 ? one() : this.#repeat(4, one);
  }
}
