/** The look of the input and of what stands around it. */

import { css } from 'lit';

export const composerStyles = css`
  :host {
    display: block;
  }

  .frame {
    /* The meter's panel is placed over it. */
    position: relative;
    border: 1px solid var(--vscode-input-border, var(--vscode-contrastBorder, var(--vscode-widget-border, transparent)));
    border-radius: 8px;
    background: var(--vscode-input-background);
  }

  :host(:not([inactive])) .frame:has(textarea:focus) {
    border-color: var(--vscode-focusBorder);
  }

  .chips {
    padding: 6px 6px 0;
  }

  textarea {
    display: block;
    /* As high as what is written, whatever the width. */
    field-sizing: content;
    width: 100%;
    min-height: 36px;
    max-height: 220px;
    padding: 9px 12px 4px;
    border: none;
    outline: none;
    background: none;
    color: var(--vscode-input-foreground);
    font: inherit;
    line-height: 1.45;
    resize: none;
  }

  textarea:focus-visible {
    outline: none;
  }

  textarea::placeholder {
    color: var(--vscode-input-placeholderForeground);
  }

  .cost {
    margin: 0;
    padding: 0 12px 4px;
    font-size: 0.85em;
    font-variant-numeric: tabular-nums;
  }

  .warning {
    display: inline-block;
  }

  .warning .codicon {
    font-size: 12px;
    vertical-align: text-bottom;
  }

  .over-long {
    margin-bottom: 6px;
    padding: 8px 10px;
    border: 1px solid var(--vscode-inputValidation-warningBorder, var(--vscode-contrastBorder));
    border-radius: 6px;
    background: var(--vscode-inputValidation-warningBackground, transparent);
    line-height: 1.4;
  }

  .over-long p {
    margin: 0 0 4px;
  }

  .over-long .codicon {
    vertical-align: text-bottom;
  }

  .offers {
    display: flex;
    flex-direction: column;
    align-items: flex-start;
    gap: 3px;
  }

  .row {
    display: flex;
    align-items: center;
    gap: 2px;
    padding: 0 5px 5px 6px;
  }

  .gap {
    flex: 1;
  }

  .send,
  .stop {
    flex: none;
  }

  .model {
    display: inline-flex;
    align-items: center;
    gap: 2px;
    min-width: 0;
    height: 24px;
    padding: 0 6px;
    border-radius: 5px;
    color: var(--vscode-descriptionForeground);
    font-size: 0.85em;
  }

  .model:hover {
    background: var(--vscode-toolbar-hoverBackground);
  }

  .model span:first-child {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }

  .model .codicon {
    font-size: 12px;
  }

  .send:not(:disabled) {
    color: var(--vscode-button-foreground);
    background: var(--vscode-button-background);
    border-color: var(--vscode-contrastBorder, transparent);
  }

  .send:hover:not(:disabled) {
    background: var(--vscode-button-hoverBackground);
  }

  .stop {
    color: var(--vscode-foreground);
  }
`;
