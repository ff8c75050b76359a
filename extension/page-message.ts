/** The page is not trusted: each of its messages is checked in shape and size before anything happens. */

import type { PageMessage, PageRequest } from '../webview/messages.ts';
import type { FixAction } from '../webview/state.ts';

/** More than any context holds; a longer text is a fault, not a question. */
const MAX_TEXT_LENGTH = 4 * 1024 * 1024;
const MAX_PATH_LENGTH = 4096;

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
  const { type, question, text, path, line, endLine, url, place, action } = value;
  switch (type) {
    case 'regenerate':
    case 'stop':
    case 'new-chat':
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
    case 'open-link':
      return isText(url, MAX_PATH_LENGTH) ? { type, url } : null;
    case 'fix':
      return isFixAction(action) ? { type, action } : null;
    default:
      return null;
  }
}

const FIX_ACTIONS: Readonly<Record<FixAction, true>> = {
  retry: true,
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
