/** What a path says about how likely a file answers a question: code does, unless the question asks for something else. */
import type { Query } from './question.ts';
import { stem } from './words.ts';

interface Kind {
  readonly paths: RegExp;
  /** Factor on a file's score, unless the question has one of `words`. */
  readonly weight: number;
  readonly words: readonly string[];
}

const KINDS: readonly Kind[] = [
  {
    paths:
      /(^|\/)(tests?|specs?|__tests__|fixtures|testdata|benchmarks?|bench|examples?)\/|[._-](test|spec|bench)\.\w+$|(^|\/)test_[^/]+$/i,
    weight: 0.5,
    words: ['test', 'tests', 'tested', 'spec', 'fixture', 'bench', 'benchmark', 'example', 'cover', 'assert'],
  },
  {
    paths: /\.(md|mdx|rst|txt|adoc)$|(^|\/)(changelog|license|notice|authors)[^/]*$/i,
    weight: 0.7,
    words: [
      'document',
      'documentation',
      'readme',
      'changelog',
      'license',
      'architecture',
      'guide',
      'contribute',
    ],
  },
  {
    paths: /\.(json|jsonc|ya?ml|toml|ini|cfg|csv|tsv|svg|xml|html?|lock|editorconfig)$|(^|\/)\.[^/]+$/i,
    weight: 0.5,
    words: ['config', 'configuration', 'setting', 'dependency', 'version', 'script'],
  },
].map((kind) => ({ ...kind, words: kind.words.map(stem) }));

export function pathWeight(path: string, query: Query): number {
  return KINDS.reduce(
    (weight, kind) =>
      kind.paths.test(path) && !kind.words.some((word) => query.words.has(word))
        ? weight * kind.weight
        : weight,
    1,
  );
}
