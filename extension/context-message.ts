/** The context panel is not trusted: each of its messages is checked before anything happens. */

import type { ContextPageMessage } from '../webview/context-messages.ts';
import { relativeSegments } from './workspace-path.ts';

/** The message, or null when it is none of ours. */
export function parseContextMessage(value: unknown): ContextPageMessage | null {
  if (typeof value !== 'object' || value === null) return null;
  const { type, path, choice } = value as Readonly<Record<string, unknown>>;
  if (type === 'ready' || type === 'refresh' || type === 'add') return { type };
  if (typeof path !== 'string' || relativeSegments(path) === null) return null;
  if (type === 'open-file') return { type, path };
  if (type !== 'choose') return null;
  return choice === 'pinned' || choice === 'dropped' || choice === null ? { type, path, choice } : null;
}
