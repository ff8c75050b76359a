/** The one place where our errors become wire errors: a code of protocol/errors.ts and a sentence for a person. */
import { LSPErrorCodes, ResponseError } from 'vscode-languageserver/node';
import { WorkspaceError } from '../context/repository.ts';
import { OutOfMemory } from '../engine/backend/backend.ts';
import { ContextOverflow, NoImageTower } from '../engine/engine.ts';
import { ImageError } from '../engine/vision/rgb-image.ts';
import { ContextFullError } from '../prompt/budget.ts';
import type { OverLong } from '../protocol/context-types.ts';
import { ErrorCode } from '../protocol/errors.ts';
import { ImageUnknownError } from '../session/image-library.ts';
import { ModelLoadError, NoModelError } from '../session/model-host.ts';

/** Parameters that do not have the shape methods.ts promises. */
export class InvalidParamsError extends Error {
  override readonly name = 'InvalidParamsError';
}

/** The answer to a request that its client has cancelled. */
export function cancelled(): ResponseError<undefined> {
  return new ResponseError(LSPErrorCodes.RequestCancelled, 'Cancelled.');
}

/** JSON-RPC's own code. */
const INVALID_PARAMS = -32602;

export function toResponseError(error: unknown): ResponseError<OverLong | undefined> {
  if (error instanceof ResponseError) return error;
  if (error instanceof InvalidParamsError) return new ResponseError(INVALID_PARAMS, error.message);
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ContextFullError) {
    const { needed, available, offers } = error;
    return new ResponseError(ErrorCode.ContextFull, message, {
      needed,
      available,
      offers,
    } satisfies OverLong);
  }
  return new ResponseError(errorCode(error), message);
}

function errorCode(error: unknown): ErrorCode {
  if (error instanceof OutOfMemory || (error instanceof Error && error.cause instanceof OutOfMemory)) {
    return ErrorCode.Memory;
  }
  if (error instanceof NoModelError || error instanceof ModelLoadError) return ErrorCode.Model;
  if (error instanceof ContextOverflow) return ErrorCode.ContextFull;
  if (error instanceof WorkspaceError) return ErrorCode.Workspace;
  if (error instanceof NoImageTower) return ErrorCode.NoImageTower;
  if (error instanceof ImageError) return ErrorCode.Image;
  if (error instanceof ImageUnknownError) return ErrorCode.ImageUnknown;
  return ErrorCode.Internal;
}
