/** The whole engine on a nano-shaped model: numbers, caching, cancelling, priorities and refusals. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ContextOverflow } from '../../sidecar/engine/engine.ts';
import type { GemmaEngine } from '../../sidecar/engine/gemma-engine.ts';
import { type GemmaEngineOptions, loadGemmaEngine } from '../../sidecar/engine/load-engine.ts';
import { readGguf } from '../../sidecar/engine/model/gguf.ts';
import { GgufError } from '../../sidecar/engine/model/gguf-error.ts';
import { NonFiniteLogits } from '../../sidecar/engine/sampler/sampler.ts';
import { type Run, run, withEngine as withEngineOf } from '../support/engine-run.ts';
import { createOracleBackend } from '../support/oracle-backend.ts';
import { seededRandom } from '../support/random.ts';
import { MODEL_SHAPES, writeTinyModel } from '../support/tiny-model.ts';

const { window, vocabulary } = MODEL_SHAPES.nano;
const folder = mkdtempSync(path.join(tmpdir(), 'engine-'));
const modelPath = path.join(folder, 'nano.gguf');
before(() => writeTinyModel(modelPath, { branchScale: 0.5 }));
after(() => rmSync(folder, { recursive: true }));

const GREEDY = { temperature: 0 };

describe('numbers', () => {
  const prompt = randomIds(2 * window + 30, 1);

  test('logits equal the F32 oracle to 1e-4 with exact activations, to 5e-3 with BF16 and to 2e-2 with int8 ones', async () => {
    const expected = await logitsOf({ createBackend: () => createOracleBackend() }, prompt);
    const exact = await logitsOf({ precision: 'f32' }, prompt);
    const rounded = await logitsOf({ precision: 'int8' }, prompt);
    const halves = await logitsOf({ precision: 'bf16' }, prompt);
    assert.ok(relativeError(exact, expected) <= 1e-4, `exact: ${relativeError(exact, expected)}`);
    assert.ok(relativeError(halves, expected) <= 5e-3, `bf16: ${relativeError(halves, expected)}`);
    assert.ok(relativeError(rounded, expected) <= 2e-2, `int8: ${relativeError(rounded, expected)}`);
  });

  test('every thread count and every way to cut the prompt give the same bits', async () => {
    const long = randomIds(5 * window + 11, 2);
    for (const precision of ['int8', 'bf16'] as const) {
      const expected = await logitsOf({ threads: 1, precision }, long, 3);
      for (const threads of [2, 3])
        assert.deepEqual(await logitsOf({ threads, precision }, long, 3), expected, `${threads} threads`);
      for (const chunk of [1, 7, 64, 130]) {
        assert.deepEqual(await logitsOf({ chunk, precision }, long, 3), expected, `chunks of ${chunk}`);
      }
    }
  });

  for (const kvFormat of ['int8', 'int4'] as const) {
    test(`with ${kvFormat} pages behind, every way to cut the prompt gives the same bits, near those of F16`, async () => {
      const long = randomIds(15 * window + 11, 2);
      const exact = await logitsOf({}, long, 3);
      const expected = await logitsOf({ kvFormat, threads: 1 }, long, 3);
      const error = relativeError(expected, exact);
      assert.ok(error > 0 && error < (kvFormat === 'int8' ? 0.02 : 0.3), `off by ${error}`);
      for (const chunk of [7, 64, 130]) {
        assert.deepEqual(
          await logitsOf({ kvFormat, chunk, threads: 2 }, long, 3),
          expected,
          `chunks of ${chunk}`,
        );
      }
    });
  }

  test('log-probabilities are those of the logits', async () => {
    await withEngine({}, async (engine) => {
      const ids = randomIds(40, 3);
      const scores = await engine.logProbabilities(ids, 1);
      assert.equal(scores.length, 39);
      const logits = await engine.logits(ids.slice(0, 20));
      const sum = logits.reduce((total, value) => total + Math.exp(value), 0);
      assert.ok(Math.abs(scores[19]! - (logits[ids[20]!]! - Math.log(sum))) < 1e-5);
    });
  });
});

describe('cache', () => {
  const repository = randomIds(4 * window + 21, 4);
  const question = randomIds(30, 5).slice(1);
  const other = randomIds(25, 6).slice(1);

  test('the same prompt again reads one token', async () => {
    await withEngine({}, async (engine) => {
      const first = await run(engine, repository, { maxTokens: 5 });
      const second = await run(engine, repository, { maxTokens: 5 });
      assert.equal(first.end.cachedTokens, 0);
      assert.equal(second.end.cachedTokens, repository.length - 1);
      assert.deepEqual(second.ids, first.ids);
    });
  });

  test('with int8 pages behind, resuming, branching, drafts and plain reading give the same tokens', async () => {
    const long = randomIds(14 * window + 21, 4);
    const options = { kvFormat: 'int8', threads: 1 } as const;
    const branch = [...long, ...other];
    const expected = await withEngine({ ...options, speculation: false }, async (engine) => ({
      first: await run(engine, long, { maxTokens: 150 }),
      branch: await run(engine, branch, { maxTokens: 20 }),
    }));
    await withEngine(options, async (engine) => {
      const first = await run(engine, long, { maxTokens: 150, keepAt: [long.length] });
      assert.deepEqual(first.ids, expected.first.ids);
      const again = await run(engine, long, { maxTokens: 150 });
      assert.equal(again.end.cachedTokens, long.length - 1);
      assert.deepEqual(again.ids, expected.first.ids);
      const second = await run(engine, branch, { maxTokens: 20 });
      assert.equal(second.end.cachedTokens, long.length);
      assert.deepEqual(second.ids, expected.branch.ids);
    });
  });

  test('a prompt branches off at a kept length after windows have moved on, with the same tokens as without a cache', async () => {
    const branch = [...repository, ...other];
    const expected = await withEngine({}, (engine) => run(engine, branch, { maxTokens: 20 }));
    await withEngine({}, async (engine) => {
      const keepAt = [repository.length];
      await run(engine, [...repository, ...question], { maxTokens: 3 * window, keepAt });
      const branched = await run(engine, branch, { maxTokens: 20, keepAt });
      assert.equal(branched.end.cachedTokens, repository.length);
      assert.deepEqual(branched.ids, expected.ids);
    });
  });

  test('a conversation goes on from its last answer', async () => {
    await withEngine({}, async (engine) => {
      const answer = await run(engine, repository, { maxTokens: 30 });
      const next = await run(engine, [...repository, ...answer.ids, ...question], { maxTokens: 3 });
      // The last token of an answer was never run.
      assert.equal(next.end.cachedTokens, repository.length + answer.ids.length - 1);
    });
  });

  test('in a context too small for all states, old ones make room and results stay the same', async () => {
    const prompts = Array.from({ length: 6 }, (_, i) => randomIds(400, 20 + i));
    await withEngine({ contextLength: 512 }, async (engine) => {
      for (let round = 0; round < 2; round++) {
        for (const [i, prompt] of prompts.entries()) {
          const { ids } = await run(engine, prompt, { maxTokens: 4 });
          if (round === 0) continue;
          const fresh = await withEngine({ contextLength: 512 }, (alone) =>
            run(alone, prompt, { maxTokens: 4 }),
          );
          assert.deepEqual(ids, fresh.ids, `prompt ${i}`);
        }
      }
      const { kvUsed, kvReserved, kvParts } = engine.memory();
      assert.ok(kvUsed <= kvReserved);
      assert.deepEqual(
        kvParts.map(({ kind, bytes }) => [kind, bytes > 0]),
        [
          ['f16', true],
          ['local', false],
          ['kept', true],
        ],
      );
    });
  });
});

describe('requests that together need more KV memory than there is', () => {
  for (const priorities of [
    ['chat', 'completion'],
    ['completion', 'chat'],
    ['chat', 'chat', 'background'],
  ] as const) {
    test(`${priorities.join(', ')}: each gets the answer it would get alone`, async () => {
      const prompts = priorities.map((_, i) => randomIds(440, 40 + i));
      const maxTokens = 72;
      const alone = await Promise.all(
        prompts.map((prompt) =>
          withEngine({ contextLength: 512 }, (engine) => run(engine, prompt, { maxTokens })),
        ),
      );
      await withEngine({ contextLength: 512, chunk: 64 }, async (engine) => {
        // Each begins in the middle of the one before.
        const started: Promise<Run>[] = [];
        const start = (i: number): void => {
          let tokens = 0;
          started[i] = run(engine, prompts[i]!, { maxTokens, priority: priorities[i]! }, (event) => {
            if (event.kind === 'token') tokens++;
            const isHalfway = event.kind === 'prefill' ? event.done >= 128 : tokens === 20;
            if (isHalfway && i + 1 < prompts.length && started[i + 1] === undefined) start(i + 1);
          });
        };
        start(0);
        for (let i = 0; i < prompts.length; i++) {
          const { ids, end } = await started[i]!;
          assert.deepEqual(ids, alone[i]!.ids, `request ${i}`);
          assert.equal(end.generatedTokens, ids.length);
        }
      });
    });
  }
});

describe('requests', () => {
  test('the events of a request come in order and end once', async () => {
    await withEngine({}, async (engine) => {
      const prompt = randomIds(600, 7);
      const { events, ids, end } = await run(engine, prompt, { maxTokens: 3 });
      assert.equal(events[0]?.kind, 'waiting');
      const reading = events.filter((event) => event.kind === 'prefill');
      assert.deepEqual(
        reading.map(({ done }) => done),
        [0, 256, 512, 600],
      );
      assert.equal(ids.length, 3);
      assert.equal(end.reason, 'length');
      assert.deepEqual([end.promptTokens, end.generatedTokens, end.cachedTokens], [600, 3, 0]);
      assert.equal(events.filter((event) => event.kind === 'end').length, 1);
    });
  });

  test('a stop id ends the stream and is not reported', async () => {
    await withEngine({}, async (engine) => {
      const prompt = randomIds(20, 8);
      const { ids } = await run(engine, prompt, { maxTokens: 8 });
      const stop = ids[4]!;
      const stopped = await run(engine, prompt, { maxTokens: 8, stopIds: [stop] });
      assert.equal(stopped.end.reason, 'stop');
      assert.deepEqual(stopped.ids, ids.slice(0, ids.indexOf(stop)));
    });
  });

  test('generation ends with the context, and a prompt that fills it is refused with both numbers', async () => {
    await withEngine({ contextLength: 512 }, async (engine) => {
      const { ids, end } = await run(engine, randomIds(500, 9), { maxTokens: 100 });
      assert.equal(ids.length, 12);
      assert.equal(end.reason, 'context');
      await assert.rejects(
        run(engine, randomIds(512, 9), { maxTokens: 1 }),
        (error) =>
          error instanceof ContextOverflow && error.promptTokens === 512 && error.contextLength === 512,
      );
    });
  });

  test('cancelling while a prompt is read keeps what was read', async () => {
    await withEngine({}, async (engine) => {
      const prompt = randomIds(4000, 10);
      const abort = new AbortController();
      const cancelled = await run(engine, prompt, { maxTokens: 5, signal: abort.signal }, (event) => {
        if (event.kind === 'prefill' && event.done >= 512) abort.abort();
      });
      assert.equal(cancelled.end.reason, 'cancelled');
      const again = await run(engine, prompt, { maxTokens: 5 });
      assert.ok(again.end.cachedTokens >= 512, `only ${again.end.cachedTokens} tokens were kept`);
      const fresh = await withEngine({}, (alone) => run(alone, prompt, { maxTokens: 5 }));
      assert.deepEqual(again.ids, fresh.ids);
    });
  });

  test('cancelling while an answer is written, or before a turn has come, ends the stream', async () => {
    await withEngine({}, async (engine) => {
      const abort = new AbortController();
      const writing = await run(
        engine,
        randomIds(10, 11),
        { maxTokens: 5000, signal: abort.signal },
        (event) => {
          if (event.kind === 'token') abort.abort();
        },
      );
      assert.equal(writing.end.reason, 'cancelled');
      assert.ok(writing.ids.length < 100);
      const waiting = await run(engine, randomIds(10, 11), { maxTokens: 5, signal: AbortSignal.abort() });
      assert.equal(waiting.end.reason, 'cancelled');
      assert.deepEqual(waiting.ids, []);
    });
  });

  test('a consumer that stops listening frees the engine', async () => {
    await withEngine({}, async (engine) => {
      for await (const event of engine.generate(randomIds(3000, 12), { maxTokens: 4000, sampling: GREEDY })) {
        if (event.kind === 'prefill') break;
      }
      const { end } = await run(engine, randomIds(10, 13), { maxTokens: 2 });
      assert.equal(end.generatedTokens, 2);
    });
  });

  test('a completion overtakes a chat that is being read, and the chat goes on with the same answer', async () => {
    const long = randomIds(4000, 14);
    const alone = await withEngine({}, (engine) => run(engine, long, { maxTokens: 6 }));
    await withEngine({}, async (engine) => {
      const order: string[] = [];
      let completion: Promise<unknown> | null = null;
      const chat = await run(engine, long, { maxTokens: 6, priority: 'chat' }, (event) => {
        if (event.kind !== 'prefill' || event.done < 256 || completion !== null) return;
        completion = run(engine, randomIds(100, 15), { maxTokens: 4, priority: 'completion' }).then(() =>
          order.push('completion'),
        );
      });
      order.push('chat');
      await completion;
      assert.deepEqual(order, ['completion', 'chat']);
      assert.deepEqual(chat.ids, alone.ids);
    });
  });

  test('the same seed gives the same answer, another one another', async () => {
    await withEngine({}, async (engine) => {
      const sample = async (seed: number) =>
        (await run(engine, randomIds(10, 16), { maxTokens: 12, sampling: { temperature: 1, seed } })).ids;
      assert.deepEqual(await sample(1), await sample(1));
      assert.notDeepEqual(await sample(1), await sample(2));
    });
  });

  test('a disposed engine refuses, and disposing ends a request under way', async () => {
    const engine = await loadGemmaEngine({ modelPath, threads: 2 });
    const running = run(engine, randomIds(4000, 17), { maxTokens: 4 });
    await engine.dispose();
    await assert.rejects(running, /unloaded/);
    await assert.rejects(engine.logits([2]), /unloaded/);
  });
});

describe('bad input', () => {
  test('ids outside the vocabulary and empty prompts are refused', async () => {
    await withEngine({}, async (engine) => {
      await assert.rejects(engine.logits([]), /empty/);
      await assert.rejects(
        engine.logits([2, vocabulary]),
        new RegExp(`Token 1 of the prompt is ${vocabulary}`),
      );
      await assert.rejects(run(engine, [2], { maxTokens: 0 }), /maxTokens is 0/);
      await assert.rejects(run(engine, [2], { maxTokens: 1, sampling: { topP: 2 } }), /topP is 2/);
    });
  });

  test('a context longer than trained for is refused before anything is loaded', async () => {
    await assert.rejects(loadGemmaEngine({ modelPath, contextLength: 10_000 }), /trained for 8192 tokens/);
  });

  test('a file that is no whole Gemma 3 model is refused with its name', async () => {
    const refused = path.join(folder, 'refused.gguf');
    for (const [key, value, reason] of [
      [
        'gemma3.block_count',
        { kind: 'integer', type: 'u32', value: 7 },
        ' has no tensor blk.6.attn_norm.weight,',
      ],
      ['general.architecture', { kind: 'string', value: 'llama' }, ': general.architecture is "llama";'],
      ['tokenizer.ggml.model', { kind: 'string', value: 'bert' }, ': tokenizer.ggml.model is "bert";'],
    ] as const) {
      writeTinyModel(refused, { metadata: { [key]: value } });
      await assert.rejects(
        loadGemmaEngine({ modelPath: refused }),
        (error) => error instanceof GgufError && error.message.startsWith(`${refused}${reason}`),
        key,
      );
    }
  });

  test('weights that give no number stop generation with an error', async () => {
    const damaged = path.join(folder, 'damaged.gguf');
    const bytes = readFileSync(modelPath);
    const norm = readGguf(modelPath).tensors.get('blk.3.ffn_norm.weight')!;
    bytes.writeFloatLE(Number.NaN, norm.offset);
    writeFileSync(damaged, bytes);
    await withEngine({ modelPath: damaged }, async (engine) => {
      await assert.rejects(run(engine, [2, 5, 6], { maxTokens: 3 }), NonFiniteLogits);
    });
  });

  test('loading stops when its signal fires', async () => {
    const abort = new AbortController();
    const loading = loadGemmaEngine({ modelPath, signal: abort.signal, onProgress: () => abort.abort() });
    await assert.rejects(loading, { name: 'AbortError' });
  });
});

function logitsOf(
  options: Partial<GemmaEngineOptions>,
  prompt: readonly number[],
  last = 1,
): Promise<Float32Array> {
  return withEngine(options, (engine) => engine.logits(prompt, last));
}

/** Length of the difference over length of the expected vector. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let size = 0;
  for (const [i, value] of expected.entries()) {
    difference += (actual[i]! - value) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(difference / size);
}

function randomIds(length: number, seed: number): number[] {
  const random = seededRandom(seed);
  return [2, ...Array.from({ length: length - 1 }, () => 4 + Math.floor(random() * (vocabulary - 4)))];
}

function withEngine<T>(
  options: Partial<GemmaEngineOptions>,
  use: (engine: GemmaEngine) => Promise<T>,
): Promise<T> {
  return withEngineOf({ modelPath, threads: 2, ...options }, use);
}
