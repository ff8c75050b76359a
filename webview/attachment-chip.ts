/** A selection that goes along with a question: its place, a way to it, and a way to take it off. */

import { css, html, nothing, type TemplateResult } from 'lit';
import { icon } from './icons.ts';
import { send } from './port.ts';
import { type Attachment, placeOf } from './state.ts';
import { counted } from './wording.ts';

/** Without `remove` it cannot be taken off: it belongs to a question that was asked. */
export function attachmentChip(attachment: Attachment, remove?: () => void): TemplateResult {
  const { kind, path, startLine, endLine } = attachment;
  const place = placeOf(attachment);
  const name = place.slice(path.lastIndexOf('/') + 1);
  const open = () => void send({ type: 'open-file', path, line: startLine, endLine }).catch(() => {});
  return html`<span class="chip" data-testid="attachment">
    <button
      class="place"
      type="button"
      title="${place}, ${counted(endLine - startLine + 1, 'line')}"
      ?disabled=${kind !== undefined}
      @click=${open}
    >
      ${icon(ICONS[kind ?? 'selection'])}<span>${name}</span>
    </button>
    ${
      remove === undefined
        ? nothing
        : html`<button
            class="remove"
            type="button"
            title="Do not send along"
            aria-label="Do not send ${place} along"
            data-testid="detach"
            @click=${remove}
          >
            ${icon('close')}
          </button>`
    }
  </span>`;
}

const ICONS = { selection: 'list-selection', problems: 'warning', terminal: 'terminal' } as const;

export const attachmentStyles = css`
  .chips {
    display: flex;
    flex-wrap: wrap;
    gap: 4px;
    margin: 0;
    padding: 0;
    list-style: none;
  }

  .chips li {
    min-width: 0;
  }

  .chip {
    display: inline-flex;
    align-items: center;
    max-width: 100%;
    height: 22px;
    border: 1px solid var(--vscode-chat-requestBorder, var(--vscode-contrastBorder, var(--vscode-widget-border, transparent)));
    border-radius: 5px;
    background: var(--vscode-editor-background);
    color: var(--vscode-foreground);
    font-size: 0.9em;
    line-height: 1;
  }

  .chip button {
    display: inline-flex;
    align-items: center;
    gap: 4px;
    height: 100%;
    padding: 0 6px;
    border: none;
    border-radius: 4px;
  }

  .chip .place:disabled {
    opacity: 1;
  }

  .chip .place {
    min-width: 0;
  }

  .chip .place span:last-child {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }

  .chip .codicon {
    font-size: 13px;
  }

  .chip .remove {
    padding: 0 4px;
    color: var(--vscode-icon-foreground);
  }

  .chip button:hover {
    background: var(--vscode-toolbar-hoverBackground);
  }

  .chip button:focus-visible {
    outline-offset: -1px;
  }
`;
