/** The page's line to the host: typed messages out, replies matched to their requests. */

import type { HostMessage, PageMessage, PageRequest } from './messages.ts';

interface EditorApi {
  postMessage(message: PageMessage): void;
  getState(): unknown;
  setState(state: PageMemory): void;
}
declare function acquireVsCodeApi(): EditorApi;

/** What the page itself keeps over a reload; the conversation is kept by the host. */
export interface PageMemory {
  readonly draft: string;
}

/** A request that the host has not answered after this time is given up. Answering a question is not waited for. */
const REPLY_TIMEOUT_MS = 60_000;

const api = acquireVsCodeApi();
const waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();
let lastId = 0;

/** Tells the host that the page is there, and hands over every message but replies. */
export function connect(receive: (message: Exclude<HostMessage, { type: 'reply' }>) => void): void {
  window.addEventListener('message', (event: MessageEvent<HostMessage>) => {
    const message = event.data;
    if (message.type !== 'reply') return receive(message);
    const request = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error === undefined) request?.resolve();
    else request?.reject(new Error(message.error));
  });
  api.postMessage({ type: 'ready' });
}

/** Resolves when the host has carried the request out; rejects with its reason when it cannot. */
export function send(request: PageRequest): Promise<void> {
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    if (!endsWithAnswer(request)) {
      setTimeout(() => {
        if (waiting.delete(id)) reject(new Error('The editor did not answer.'));
      }, REPLY_TIMEOUT_MS);
    }
    api.postMessage({ type: 'request', id, request });
  });
}

/** Requests that may take as long as a person or an answer takes. */
function endsWithAnswer(request: PageRequest): boolean {
  return ['ask', 'regenerate', 'fix', 'open-link'].includes(request.type);
}

export function recall(): PageMemory {
  const memory = api.getState();
  const draft =
    typeof memory === 'object' && memory !== null && 'draft' in memory && typeof memory.draft === 'string'
      ? memory.draft
      : '';
  return { draft };
}

export function remember(memory: PageMemory): void {
  api.setState(memory);
}
