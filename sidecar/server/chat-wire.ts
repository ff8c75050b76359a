/** gemma/chat between wire and session: the only file that knows both shapes. Nothing from the wire is trusted. */

import { type Choice, NO_CHOICE } from '../context/choice.ts';
import { type PromptFile, withoutFinalLineFeeds } from '../prompt/file-block.ts';
import type { ChatProgress, ChatResult } from '../protocol/methods.ts';
import type { ChatAnswer, ChatSessionProgress } from '../session/chat-session.ts';
import type { ImageReference } from '../session/image-library.ts';
import type { QuestionTurn } from '../session/prompt-plan.ts';
import { InvalidParamsError } from './errors.ts';

export interface ChatCall {
  readonly requestId: string;
  readonly turns: readonly QuestionTurn[];
  readonly useRepository: boolean;
  readonly choice: Choice;
  /** A URI. */
  readonly activeFile: string | null;
}

const MAX_URI = 32_768;
const MAX_TURNS = 10_000;
const MAX_TEXT = 16 * 1024 * 1024;
const MAX_ATTACHMENTS = 256;
const MAX_IMAGES = 256;
const MAX_CHOICES = 10_000;
const MAX_LINE = 10_000_000;
/** Files left out that an answer lists; the context panel shows them all, by folder. */
const MOST_LEFT_OUT = 500;

export function chatFromWire(params: unknown): ChatCall {
  const { requestId, turns, useRepository, attachments, choice, activeFile } = record(params, 'params');
  if (!Array.isArray(turns) || turns.length === 0 || turns.length > MAX_TURNS) {
    throw new InvalidParamsError(`turns must be a list of 1 to ${MAX_TURNS} turns.`);
  }
  const converted = turns.map((turn: unknown, i): QuestionTurn => {
    const { role, text, attachments: earlier, images } = record(turn, `turns[${i}]`);
    if (role !== 'user' && role !== 'model') throw new InvalidParamsError(`turns[${i}].role is not a role.`);
    const attached = attachmentsFromWire(earlier, `turns[${i}].attachments`);
    const shown = imagesFromWire(images, `turns[${i}].images`);
    if (attached.length + shown.length > 0 && role === 'model')
      throw new InvalidParamsError(`turns[${i}] is an answer, which has no attachments.`);
    return {
      role,
      text: string(text, `turns[${i}].text`, MAX_TEXT),
      ...(attached.length > 0 && { attachments: attached }),
      ...(shown.length > 0 && { images: shown }),
    };
  });
  const question = converted.at(-1)!;
  if (question.role !== 'user')
    throw new InvalidParamsError('The last turn must be the question of the user.');
  if (question.text.trim() === '') throw new InvalidParamsError('The question is empty.');
  if (converted[0]!.role !== 'user') throw new InvalidParamsError('The first turn must be of the user.');
  const attached = [...(question.attachments ?? []), ...attachmentsFromWire(attachments, 'attachments')];
  return {
    requestId: string(requestId, 'requestId', 256),
    turns: [
      ...converted.slice(0, -1),
      attached.length > 0 ? { ...question, attachments: attached } : question,
    ],
    useRepository: useRepository !== false,
    choice: choiceFromWire(choice),
    activeFile: activeFile === undefined ? null : string(activeFile, 'activeFile', MAX_URI),
  };
}

function attachmentsFromWire(value: unknown, what: string): readonly PromptFile[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_ATTACHMENTS) {
    throw new InvalidParamsError(`${what} must be a list of at most ${MAX_ATTACHMENTS}.`);
  }
  return value.map((item: unknown, i): PromptFile => {
    const { kind, path, startLine, text } = record(item, `${what}[${i}]`);
    const content = withoutFinalLineFeeds(
      string(text, `${what}[${i}].text`, MAX_TEXT).replace(/\r\n?/g, '\n'),
    );
    const name = string(path, `${what}[${i}].path`, 4096).replace(/[\r\n]/g, ' ');
    if (kind === 'file') return { path: name, text: content };
    if (kind === 'problems' || kind === 'terminal') return { path: name, text: content, plain: true };
    if (kind !== 'selection') throw new InvalidParamsError(`${what}[${i}].kind is not a kind.`);
    const first = clampInteger(startLine, 1, MAX_LINE, `${what}[${i}].startLine`);
    return { path: name, text: content, lines: { first, last: first + content.split('\n').length - 1 } };
  });
}

function imagesFromWire(value: unknown, what: string): readonly ImageReference[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_IMAGES) {
    throw new InvalidParamsError(`${what} must be a list of at most ${MAX_IMAGES}.`);
  }
  return value.map((item: unknown, i) => {
    const { id, name, details } = record(item, `${what}[${i}]`);
    return {
      id: string(id, `${what}[${i}].id`, 256),
      name: string(name, `${what}[${i}].name`, 4096),
      details: details === true,
    };
  });
}

export function choiceFromWire(value: unknown): Choice {
  if (value === undefined || value === null) return NO_CHOICE;
  const { pinned, dropped } = record(value, 'choice');
  return { pinned: paths(pinned, 'choice.pinned'), dropped: paths(dropped, 'choice.dropped') };
}

function paths(value: unknown, what: string): readonly string[] {
  if (!Array.isArray(value) || value.length > MAX_CHOICES) {
    throw new InvalidParamsError(`${what} must be a list of at most ${MAX_CHOICES} paths.`);
  }
  return value.map((item: unknown, i) => string(item, `${what}[${i}]`, 4096));
}

export function chatResultToWire(requestId: string, answer: ChatAnswer): ChatResult {
  const { leftOut } = answer;
  const more = leftOut.slice(MOST_LEFT_OUT);
  const forRoom = more.reduce((count, { reason }) => count + (reason === 'budget' ? 1 : 0), 0);
  return {
    requestId,
    ...answer,
    leftOut: leftOut.slice(0, MOST_LEFT_OUT),
    ...(more.length > 0 && { leftOutMore: { files: more.length, forRoom } }),
  };
}

export function chatProgressToWire(requestId: string, progress: ChatSessionProgress): ChatProgress {
  return { requestId, ...progress };
}

export function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidParamsError(`${what} must be an object.`);
  }
  return value as Readonly<Record<string, unknown>>;
}

export function string(value: unknown, what: string, longest: number): string {
  if (typeof value !== 'string') throw new InvalidParamsError(`${what} must be a string.`);
  if (value.length > longest) throw new InvalidParamsError(`${what} is longer than ${longest} characters.`);
  return value;
}

export function clampInteger(value: unknown, least: number, most: number, what: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new InvalidParamsError(`${what} must be a number.`);
  return Math.min(most, Math.max(least, Math.trunc(value)));
}
