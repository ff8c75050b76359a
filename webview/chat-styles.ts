/** The look of the page: the conversation that scrolls and what stays below it. */

import { css } from 'lit';

export const chatStyles = css`
  :host {
    display: block;
    height: 100vh;
  }

  main {
    position: relative;
    display: flex;
    flex-direction: column;
    height: 100%;
  }

  .scroller {
    display: flex;
    flex-direction: column;
    flex: 1;
    min-height: 0;
    padding: 14px 16px 14px;
    overflow-y: auto;
    overflow-anchor: none;
  }

  .conversation {
    width: 100%;
    max-width: 900px;
    margin: 0 auto;
  }

  .message {
    border-radius: 8px;
  }

  .question {
    width: fit-content;
    max-width: 88%;
    margin: 0 0 14px auto;
    padding: 8px 12px;
    border: 1px solid var(--vscode-contrastBorder, transparent);
    background: var(
      --vscode-chat-requestBubbleBackground,
      color-mix(in srgb, var(--vscode-foreground) 9%, transparent)
    );
    line-height: 1.45;
    overflow-wrap: anywhere;
    white-space: pre-wrap;
  }

  .question .chips {
    margin-bottom: 6px;
    white-space: normal;
  }

  .answer {
    margin-bottom: 18px;
  }

  .left-out {
    margin: 4px 0 0;
    font-size: 0.85em;
  }

  .built-in {
    margin: 0 2px 6px;
    font-size: 0.85em;
    line-height: 1.4;
  }

  .bottom {
    width: 100%;
    max-width: 932px;
    margin: 0 auto;
    padding: 0 12px 12px;
  }

  .notice {
    margin: 0 4px 6px;
    color: var(--vscode-descriptionForeground);
    font-size: 0.9em;
  }

  .to-end {
    display: flex;
    align-self: center;
    align-items: center;
    justify-content: center;
    width: 28px;
    height: 28px;
    margin: -34px 0 6px;
    z-index: 1;
    border: 1px solid var(--vscode-contrastBorder, var(--vscode-widget-border));
    border-radius: 50%;
    background: var(--vscode-editorWidget-background);
    box-shadow: 0 2px 6px var(--vscode-widget-shadow, transparent);
  }
`;
