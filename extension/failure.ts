/** From what went wrong to a sentence and to what a person can do about it. */

import type { OverLong } from '../sidecar/protocol/context-types.ts';
import { ErrorCode, SHOWN_TO_PERSON } from '../sidecar/protocol/errors.ts';
import type { Status } from '../sidecar/protocol/methods.ts';
import type { Failure, FixAction } from '../webview/state.ts';
import { PictureError, type PictureProblem } from './attached-pictures.ts';
import type { SidecarExit } from './sidecar-process.ts';

/** A request that ended because its process did. */
export class SidecarExitedError extends Error {
  readonly exit: SidecarExit;

  constructor(exit: SidecarExit) {
    super(describeExit(exit));
    this.exit = exit;
  }
}

/** A request to a sidecar that stays down. */
export class SidecarStoppedError extends Error {
  constructor() {
    super('The sidecar is not running.');
  }
}

/** Turns a sentence into the editor's language; the pure rules here know no editor. */
export type Translate = (message: string, ...args: (string | number)[]) => string;

/** Why a question was not answered. */
export function requestFailure(error: unknown, usesOwnModel: boolean, t: Translate): Failure {
  if (error instanceof SidecarExitedError) {
    return {
      message: t(
        'The sidecar stopped while it was answering ({0}). It is being started again.',
        error.message,
      ),
      fixes: ['retry', 'show-log'],
    };
  }
  if (error instanceof SidecarStoppedError) {
    return {
      message: t('The sidecar is not running. Restart it, then ask again.'),
      fixes: ['restart-sidecar'],
    };
  }
  if (error instanceof PictureError)
    return { message: error.message, fixes: error.problem.blind ? BLIND_FIXES : ['retry'] };
  const code = errorCode(error);
  if (code === ErrorCode.Model) return { message: messageOf(error), fixes: modelFixes(usesOwnModel) };
  if (code !== null && SHOWN_TO_PERSON.has(code))
    return { message: messageOf(error), fixes: FIXES[code] ?? ['show-log'] };
  return {
    message: t('The answer failed because of a fault in Gemma Sidecar. Its log says more.'),
    fixes: ['retry', 'show-log'],
  };
}

/** Why a picture cannot be sent. */
export function pictureProblem(error: unknown, t: Translate): PictureProblem {
  const code = errorCode(error);
  if (code === ErrorCode.NoImageTower) return { message: messageOf(error), blind: true };
  if (code !== null && SHOWN_TO_PERSON.has(code)) return { message: messageOf(error) };
  const message =
    error instanceof SidecarExitedError || error instanceof SidecarStoppedError
      ? t('The sidecar stopped while it was reading the picture. Try again.')
      : t('The picture could not be read because of a fault in Gemma Sidecar. Its log says more.');
  return { message };
}

/** What does not fit, where that is why a question failed. */
export function overLongOf(error: unknown): OverLong | null {
  if (errorCode(error) !== ErrorCode.ContextFull || !(error instanceof Error) || !('data' in error))
    return null;
  const { data } = error;
  const isOverLong = (value: unknown): value is OverLong =>
    typeof value === 'object' &&
    value !== null &&
    'needed' in value &&
    'available' in value &&
    'offers' in value;
  return isOverLong(data) ? data : null;
}

export function isImageUnknown(error: unknown): boolean {
  return errorCode(error) === ErrorCode.ImageUnknown;
}

/** Why no model can answer at all; null when one can. */
export function modelFailure(status: Status, usesOwnModel: boolean, t: Translate): Failure | null {
  if (status.state !== 'failed' && status.state !== 'no-model') return null;
  const message = status.error ?? t('No model is loaded. Choose a Gemma 3 model file in GGUF form.');
  return { message, fixes: modelFixes(usesOwnModel) };
}

/** Why the sidecar stays down. */
export function crashFailure(exit: SidecarExit, t: Translate): Failure {
  const reason = describeExit(exit);
  if (ranOutOfMemory(exit)) {
    const message = t(
      'The sidecar ended five times in three minutes ({0}), most likely because memory ran out. A smaller model or context length needs less.',
      reason,
    );
    return { message, fixes: ['restart-sidecar', 'choose-model', 'open-settings'] };
  }
  const message = t(
    'The sidecar stopped five times in three minutes ({0}), so it is not started again by itself.',
    reason,
  );
  return { message, fixes: ['restart-sidecar', 'show-log'] };
}

/** The system ends what takes too much with SIGKILL; allocators say it before they give up. */
function ranOutOfMemory({ signal, lastLines, killedBecause }: SidecarExit): boolean {
  if (killedBecause !== undefined) return false;
  return (
    signal === 'SIGKILL' || lastLines.some((line) => /out of memory|bad_alloc|cannot allocate/i.test(line))
  );
}

export function describeExit(exit: SidecarExit): string {
  if (exit.startError !== undefined) return `could not be started: ${exit.startError}`;
  if (exit.killedBecause !== undefined) return exit.killedBecause;
  if (exit.signal !== null) return `signal ${exit.signal}`;
  return `exit code ${exit.code ?? 'unknown'}`;
}

function modelFixes(usesOwnModel: boolean): readonly FixAction[] {
  return usesOwnModel ? ['choose-model', 'use-built-in-model'] : ['choose-model', 'show-log'];
}

/** A conversation with pictures in it goes on only with a model that sees. */
const BLIND_FIXES: readonly FixAction[] = ['choose-model', 'open-settings', 'new-chat'];

const FIXES: Readonly<Record<number, readonly FixAction[]>> = {
  [ErrorCode.ContextFull]: ['retry', 'open-settings'],
  [ErrorCode.Memory]: ['open-settings', 'choose-model'],
  [ErrorCode.Workspace]: ['retry', 'open-folder'],
  [ErrorCode.NoImageTower]: BLIND_FIXES,
  [ErrorCode.Image]: ['retry'],
};

function errorCode(error: unknown): number | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : null;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
