/** What sending the draft would cost, under the input; and what can be taken off where it does not fit. */

import { html, nothing, type TemplateResult } from 'lit';
import type { CostPreview, DropOffer, OverLong } from '../sidecar/protocol/context-types.ts';
import { icon } from './icons.ts';
import { count, counted, duration } from './wording.ts';

/** "12,400 tokens to read, 81,000 kept, about 0:35". */
export function costWords({ toRead, cachedInMemory, cachedOnDisk, seconds }: CostPreview): string {
  const kept = cachedInMemory + cachedOnDisk;
  return [
    `${counted(toRead, 'token')} to read`,
    ...(kept > 0 ? [`${count(kept)} kept`] : []),
    ...(seconds === undefined ? [] : [seconds < 1 ? 'at once' : `about ${duration(seconds)}`]),
  ].join(', ');
}

/** `isMentioning`: a mention is being written, and is of course not known yet. */
export function costLine(
  preview: CostPreview | null,
  isMentioning: boolean,
): TemplateResult | typeof nothing {
  if (preview === null || preview.overLong !== undefined) return nothing;
  const { unknownMentions, reason, forgottenTurns = 0 } = preview;
  const forgotten =
    forgottenTurns === 0
      ? nothing
      : html`<span class="warning">${icon('warning')} the first ${counted(forgottenTurns, 'message')} no longer fit</span>`;
  const unknown =
    unknownMentions.length === 0 || isMentioning
      ? nothing
      : html`<span class="warning">${icon('warning')} ${unknownMentions.join(', ')}: not in this workspace</span>`;
  return html`<p class="cost quiet" data-testid="cost" title=${reason ?? nothing}>${costWords(preview)} ${unknown} ${forgotten}</p>`;
}

export function overLongWords({ needed, available }: OverLong): string {
  return `This does not fit: it takes ${count(needed)} tokens, and ${count(available)} are there, ${count(needed - available)} too few. Nothing was sent.`;
}

export function dropLabel({ kind, name, tokens }: DropOffer): string {
  const what = kind === 'pin' ? `the pin of ${name}` : name;
  return kind === 'turns'
    ? `Forget the first ${name} turns (${count(tokens)} tokens)`
    : `Drop ${what} (${count(tokens)} tokens)`;
}
