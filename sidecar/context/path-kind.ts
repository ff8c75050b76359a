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

/** What a path says of itself, whatever is asked. */
export interface PathTraits {
  /** Bit k: it is one of the k-th of KINDS. */
  readonly kinds: number;
  /** How well it introduces a project, from 0 to 1. */
  readonly introduces: number;
}

export function pathTraits(path: string): PathTraits {
  const kinds = KINDS.reduce((bits, { paths }, k) => (paths.test(path) ? bits | (1 << k) : bits), 0);
  return { kinds, introduces: introductionOf(path) };
}

/** Factor on the score of a file, by its `kinds`. */
export function kindWeights(query: Query): readonly number[] {
  const weights = KINDS.map(({ weight, words }) =>
    words.some((word) => query.words.has(word)) ? 1 : weight,
  );
  return Array.from({ length: 1 << KINDS.length }, (_, kinds) =>
    weights.reduce((product, weight, k) => (kinds & (1 << k) ? product * weight : product), 1),
  );
}

function introductionOf(path: string): number {
  if (/^(?:[^/]+\/)?readme(\.\w+)?$/i.test(path)) return 1;
  if (
    /^(?:[^/]+\/)?(package\.json|Cargo\.toml|pyproject\.toml|go\.mod|pom\.xml|CMakeLists\.txt)$/.test(path)
  ) {
    return 1 / 2;
  }
  return /^[^/]+\.md$/i.test(path) ? 1 / 3 : 0;
}
