import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PictureError } from '../../extension/attached-pictures.ts';
import {
  crashFailure,
  modelFailure,
  pictureProblem,
  requestFailure,
  SidecarExitedError,
  SidecarStoppedError,
  type Translate,
} from '../../extension/failure.ts';
import { ErrorCode } from '../../sidecar/protocol/errors.ts';

const t: Translate = (message, ...args) =>
  message.replace(/\{(\d)\}/g, (_, index) => String(args[Number(index)]));
const KILLED = { code: null, signal: 'SIGKILL', lastLines: [] } as const;

describe('a failure', () => {
  it('with a sentence for a person shows it, with what to do', () => {
    const error = Object.assign(new Error('Too little memory: 5 GiB needed.'), { code: ErrorCode.Memory });
    assert.deepEqual(requestFailure(error, true, t), {
      message: 'Too little memory: 5 GiB needed.',
      fixes: ['open-settings', 'choose-model'],
    });
  });

  it('of ours does not show its inside', () => {
    const error = Object.assign(new Error('undefined is not a function'), { code: ErrorCode.Internal });
    const failure = requestFailure(error, true, t);
    assert.doesNotMatch(failure.message, /undefined/);
    assert.deepEqual(failure.fixes, ['retry', 'show-log']);
  });

  it('of a picture for a model that cannot see offers a model, and a way out of the conversation', () => {
    const error = Object.assign(new Error('It has no image tower.'), { code: ErrorCode.NoImageTower });
    const problem = pictureProblem(error, t);
    assert.deepEqual(problem, { message: 'It has no image tower.', blind: true });
    assert.deepEqual(requestFailure(new PictureError(problem), true, t), {
      message: 'It has no image tower.',
      fixes: ['choose-model', 'open-settings', 'new-chat'],
    });
    assert.deepEqual(requestFailure(new PictureError({ message: 'Too large.' }), true, t).fixes, ['retry']);
    assert.equal(pictureProblem(new SidecarStoppedError(), t).blind, undefined);
  });

  it('by a crash says how the sidecar ended', () => {
    assert.match(requestFailure(new SidecarExitedError(KILLED), true, t).message, /\(signal SIGKILL\)/);
    assert.match(crashFailure(KILLED, t).message, /memory/);
    assert.doesNotMatch(crashFailure({ code: 1, signal: null, lastLines: [] }, t).message, /memory/);
    assert.match(crashFailure({ code: 1, signal: null, lastLines: ['std::bad_alloc'] }, t).message, /memory/);
  });

  it('of a sidecar that stays down offers to restart it', () => {
    assert.deepEqual(requestFailure(new SidecarStoppedError(), true, t).fixes, ['restart-sidecar']);
  });

  it('of the model offers the built-in one only where another was chosen', () => {
    const status = { state: 'failed', error: 'Not a Gemma 3 model.' } as const;
    assert.deepEqual(modelFailure(status, true, t)?.fixes, ['choose-model', 'use-built-in-model']);
    assert.deepEqual(modelFailure(status, false, t)?.fixes, ['choose-model', 'show-log']);
    assert.equal(modelFailure({ state: 'ready' }, true, t), null);
  });
});
