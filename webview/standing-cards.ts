/** What stands between the conversation and the input: failures that last, restricted mode, what the model is worth. */

import { html, nothing, type TemplateResult } from 'lit';
import './failure-card.ts';
import { send } from './port.ts';
import { type ChatState, standingFailure, type Workspace } from './state.ts';

export function standingCards(state: ChatState): TemplateResult {
  return html`${standingCard(state)} ${workspaceCard(state.workspace)} ${blindModelNote(state)} ${builtInNote(state)}`;
}

function standingCard(state: ChatState): TemplateResult | typeof nothing {
  const failure = standingFailure(state);
  const last = state.messages.at(-1);
  // The last answer may have said it already.
  const said = last?.role === 'model' && last.failure?.message === failure?.message;
  return failure === null || said
    ? nothing
    : html`<gemma-failure-card .failure=${failure}></gemma-failure-card>`;
}

function workspaceCard(workspace: Workspace): TemplateResult | typeof nothing {
  if (workspace.trusted) return nothing;
  const failure = {
    message:
      'This workspace is in Restricted Mode, so Gemma does not read it. Answers come from the conversation only.',
    fixes: ['manage-trust'],
  };
  return html`<gemma-failure-card tone="info" .failure=${failure}></gemma-failure-card>`;
}

/** A model that cannot see says so as soon as a picture is attached, not only when the question is sent. */
function blindModelNote({ status, pictures }: ChatState): TemplateResult | typeof nothing {
  const support = status?.images;
  if (pictures.length === 0 || support === undefined || support.available) return nothing;
  const failure = {
    message: support.reason ?? 'This model cannot read pictures: it has no image tower.',
    fixes: ['choose-model', 'open-settings'],
  };
  return html`<gemma-failure-card tone="info" .failure=${failure}></gemma-failure-card>`;
}

/** The built-in model shows the product on a fresh machine; nobody should take its answers for a real Gemma's. */
function builtInNote({ status, pictures }: ChatState): TemplateResult | typeof nothing {
  if (status?.model?.builtIn !== true) return nothing;
  const seen = pictures.length > 0 && status.images?.available === true;
  return html`<p class="built-in quiet" data-testid="built-in-note">
    This small built-in model only shows how the product works; its answers are often wrong.
    ${seen ? 'Of pictures it reads only simple drawings (flowcharts, classes, charts, tables, a few lines of code), not always rightly.' : nothing}
    <button type="button" class="link" @click=${() => void send({ type: 'fix', action: 'choose-model' }).catch(() => {})}>Choose a Gemma 3 file</button>
  </p>`;
}
