import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutOfMemory } from '../../sidecar/engine/backend/backend.ts';
import { ContextOverflow } from '../../sidecar/engine/engine.ts';
import { KvFull } from '../../sidecar/engine/kv/kv-cache.ts';
import { ContextFullError } from '../../sidecar/prompt/budget.ts';
import { ErrorCode, SHOWN_TO_PERSON } from '../../sidecar/protocol/errors.ts';
import { toResponseError } from '../../sidecar/server/errors.ts';
import { ModelLoadError } from '../../sidecar/session/model-host.ts';

test('what the engine throws reaches a person as a code and a sentence of its own', () => {
  const cases: readonly (readonly [error: Error, code: number, sentence: RegExp])[] = [
    [new ContextOverflow(600, 512), ErrorCode.ContextFull, /has 600 tokens, but the context holds 512/],
    [new ContextFullError('The question takes', 9, 5, 'Shorten it.'), ErrorCode.ContextFull, /Shorten it\.$/],
    [new KvFull('local', 12), ErrorCode.Memory, /12 pages of 64 tokens.*Wait for them/],
    [new OutOfMemory('Not enough memory: 1 GiB.'), ErrorCode.Memory, /Not enough memory/],
    [new ModelLoadError('m.gguf', new OutOfMemory('Not enough memory.')), ErrorCode.Memory, /Not enough/],
    [new ModelLoadError('m.gguf', new Error('No.')), ErrorCode.Model, /No\./],
  ];
  for (const [error, code, sentence] of cases) {
    const response = toResponseError(error);
    assert.equal(response.code, code, error.name);
    assert.match(response.message, sentence);
    assert.ok(SHOWN_TO_PERSON.has(response.code));
  }
});

test('a fault of ours stays one', () => {
  assert.equal(toResponseError(new TypeError('x is not a function')).code, ErrorCode.Internal);
});
