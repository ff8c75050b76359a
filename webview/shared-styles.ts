/** Styles that several elements need. Colours are the editor's; each element adds only its own layout. */

import { css } from 'lit';
import { iconStyles } from './icons.ts';

const controls = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }

  button {
    font: inherit;
    color: inherit;
    background: none;
    border: 1px solid transparent;
    cursor: pointer;
  }

  button:disabled {
    cursor: default;
    opacity: 0.4;
  }

  :focus-visible {
    outline: 1px solid var(--vscode-focusBorder);
    outline-offset: 1px;
  }

  .icon-button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    width: 24px;
    height: 24px;
    padding: 0;
    border-radius: 5px;
    color: var(--vscode-icon-foreground);
  }

  .icon-button:hover:not(:disabled) {
    background: var(--vscode-toolbar-hoverBackground);
    outline: 1px dashed var(--vscode-contrastActiveBorder, transparent);
    outline-offset: -1px;
  }

  .link {
    display: inline;
    padding: 0;
    border: none;
    border-radius: 2px;
    color: var(--vscode-textLink-foreground);
    text-align: start;
    text-decoration: var(--text-link-decoration, none);
  }

  .link:hover {
    color: var(--vscode-textLink-activeForeground);
    text-decoration: underline;
  }

  .quiet {
    color: var(--vscode-descriptionForeground);
  }

  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
    }
  }

  :host-context(body.vscode-reduce-motion) * {
    animation: none !important;
    transition: none !important;
  }
`;

export const sharedStyles = [iconStyles, controls];
