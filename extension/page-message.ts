/** The page is not trusted: each of its messages is checked in shape and size before anything happens. */

import {
  type DecodedPicture,
  MAX_SENT_PIXELS,
  type PageMessage,
  type PageRequest,
} from '../webview/messages.ts';
import type { Region } from '../webview/picture.ts';
import type { FixAction } from '../webview/state.ts';

/** More than any context holds; a longer text is a fault, not a question. */
const MAX_TEXT_LENGTH = 4 * 1024 * 1024;
const MAX_PATH_LENGTH = 4096;
const MAX_SENTENCE_LENGTH = 2000;
const MAX_NOTES = 8;
const MAX_THUMBNAIL_BYTES = 1024 * 1024;

/** The message, or null when it is none of ours. */
export function parsePageMessage(value: unknown): PageMessage | null {
  if (!isRecord(value)) return null;
  if (value['type'] === 'ready') return { type: 'ready' };
  const { type, id, request } = value;
  if (type !== 'request' || !isCount(id)) return null;
  const parsed = parseRequest(request);
  return parsed && { type, id, request: parsed };
}

function parseRequest(value: unknown): PageRequest | null {
  if (!isRecord(value)) return null;
  const { type, question, text, path, line, endLine, url, place, action, key } = value;
  switch (type) {
    case 'regenerate':
    case 'stop':
    case 'new-chat':
    case 'show-context':
      return { type };
    case 'ask':
      return isText(question, MAX_TEXT_LENGTH) && question.trim() !== '' ? { type, question } : null;
    case 'copy':
    case 'insert':
      return isText(text, MAX_TEXT_LENGTH) ? { type, text } : null;
    case 'open-file':
      if (!isText(path, MAX_PATH_LENGTH) || !isCount(line)) return null;
      return isCount(endLine) ? { type, path, line, endLine } : { type, path, line };
    case 'detach':
      return isText(place, MAX_PATH_LENGTH) ? { type, place } : null;
    case 'preview':
      return isText(question, MAX_TEXT_LENGTH) ? { type, question } : null;
    case 'complete-mention': {
      const { query } = value;
      return isText(query, MAX_PATH_LENGTH) ? { type, query } : null;
    }
    case 'attach-mention': {
      const { kind } = value;
      return kind === 'selection' || kind === 'problems' || kind === 'terminal' ? { type, kind } : null;
    }
    case 'drop': {
      const { kind, name } = value;
      if (!isText(name, MAX_PATH_LENGTH)) return null;
      return kind === 'turns' || kind === 'attachment' || kind === 'pin' || kind === 'image'
        ? { type, kind, name }
        : null;
    }
    case 'choose-pictures':
      return { type };
    case 'attach-picture': {
      const picture = parsePicture(value['picture']);
      return isKey(key) && picture ? { type, key, picture } : null;
    }
    case 'picture-refused': {
      const { message } = value;
      return isKey(key) && isText(message, MAX_SENTENCE_LENGTH) ? { type, key, message } : null;
    }
    case 'remove-picture':
    case 'view-picture':
    case 'encode-again':
      return isKey(key) ? { type, key } : null;
    case 'choose-region': {
      const { region, thumbnail } = value;
      if (!isKey(key) || !isThumbnail(thumbnail)) return null;
      if (region === null) return { type, key, region, thumbnail };
      const parsed = parseRegion(region);
      return parsed && { type, key, region: parsed, thumbnail };
    }
    case 'read-details': {
      const { details } = value;
      return isKey(key) && typeof details === 'boolean' ? { type, key, details } : null;
    }
    case 'open-link':
      return isText(url, MAX_PATH_LENGTH) ? { type, url } : null;
    case 'fix':
      return isFixAction(action) ? { type, action } : null;
    default:
      return null;
  }
}

function parsePicture(value: unknown): DecodedPicture | null {
  if (!isRecord(value)) return null;
  const { name, width, height, rgba, thumbnail, notes } = value;
  if (!isText(name, MAX_PATH_LENGTH) || !isCount(width) || !isCount(height)) return null;
  if (width * height > MAX_SENT_PIXELS) return null;
  if (!(rgba instanceof ArrayBuffer) || rgba.byteLength !== width * height * 4) return null;
  if (!isThumbnail(thumbnail) || !Array.isArray(notes) || notes.length > MAX_NOTES) return null;
  if (!notes.every((note): note is string => isText(note, MAX_SENTENCE_LENGTH))) return null;
  return { name, width, height, rgba, thumbnail, notes };
}

function parseRegion(value: unknown): Region | null {
  if (!isRecord(value)) return null;
  const { x, y, width, height } = value;
  const numbers = [x, y, width, height].every((number) => Number.isFinite(number));
  return numbers ? { x: Number(x), y: Number(y), width: Number(width), height: Number(height) } : null;
}

function isThumbnail(value: unknown): value is ArrayBuffer {
  return value instanceof ArrayBuffer && value.byteLength <= MAX_THUMBNAIL_BYTES;
}

function isKey(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{8,64}$/.test(value);
}

const FIX_ACTIONS: Readonly<Record<FixAction, true>> = {
  retry: true,
  'new-chat': true,
  'choose-model': true,
  'use-built-in-model': true,
  'restart-sidecar': true,
  'show-log': true,
  'open-settings': true,
  'open-folder': true,
  'manage-trust': true,
};

function isFixAction(value: unknown): value is FixAction {
  return typeof value === 'string' && Object.hasOwn(FIX_ACTIONS, value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isText(value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value.length <= maxLength;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}
