/** The look of the context panel. States differ in colour and in pattern. */

import { css } from 'lit';

export const contextStyles = css`
  main {
    max-width: 1100px;
    margin: 0 auto;
    padding: 14px 20px 24px;
    line-height: 1.45;
  }

  header,
  nav,
  .details {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 6px;
  }

  h1 {
    margin: 0;
    font-size: 1.3em;
    font-weight: 600;
  }

  h2 {
    margin: 0 0 6px;
    font-size: 1em;
    font-weight: 600;
  }

  .gap {
    flex: 1;
  }

  .text-button {
    display: inline-flex;
    align-items: center;
    gap: 4px;
    min-height: 24px;
    padding: 1px 8px;
    border-radius: 5px;
    border-color: var(--vscode-contrastBorder, var(--vscode-widget-border, transparent));
  }

  .text-button:hover {
    background: var(--vscode-toolbar-hoverBackground);
  }

  .text-button[aria-pressed='true'] {
    background: var(--vscode-inputOption-activeBackground);
    border-color: var(--vscode-contrastActiveBorder, var(--vscode-inputOption-activeBorder, transparent));
    /* High contrast has no backgrounds to tell it by. */
    box-shadow: inset 0 0 0 1px var(--vscode-contrastActiveBorder, transparent);
    color: var(--vscode-inputOption-activeForeground);
  }

  .window {
    margin: 12px 0;
  }

  .window p {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 16px;
    margin: 6px 0 0;
    font-variant-numeric: tabular-nums;
  }

  .bar {
    display: block;
    width: 100%;
    height: 8px;
    border-radius: 4px;
    background: var(--track);
    outline: 1px solid var(--vscode-contrastBorder, transparent);
  }

  .window .bar {
    height: 12px;
  }

  .cached,
  .kept {
    --part: var(--vscode-charts-blue);
  }

  .disk {
    --part: color-mix(in srgb, var(--vscode-charts-blue) 50%, var(--vscode-editor-background));
  }

  .fresh {
    --part: var(--vscode-charts-yellow);
  }

  .outlined {
    --part: var(--vscode-charts-purple);
  }

  .left-out {
    --part: color-mix(in srgb, var(--vscode-foreground) 10%, var(--vscode-editor-background));
  }

  .reserved {
    --part: color-mix(in srgb, var(--vscode-foreground) 45%, var(--vscode-editor-background));
  }

  .free {
    --part: transparent;
  }

  .fill {
    fill: var(--part);
  }

  .swatch {
    display: inline-block;
    width: 10px;
    height: 10px;
    margin-inline-end: 5px;
    border: 1px solid var(--vscode-contrastBorder, color-mix(in srgb, var(--vscode-foreground) 35%, transparent));
    border-radius: 2px;
    background: var(--part);
    vertical-align: -1px;
  }

  .trail {
    display: inline-flex;
    flex-wrap: wrap;
    gap: 4px;
  }

  .trail [aria-current] {
    color: var(--vscode-foreground);
  }

  .legend {
    display: inline-flex;
    flex-wrap: wrap;
    gap: 4px 14px;
    font-size: 0.9em;
  }

  nav {
    margin-bottom: 6px;
  }

  .map {
    height: 420px;
    overflow: hidden;
  }

  .tile {
    cursor: pointer;
    outline: none;
  }

  .tile .fill {
    fill: color-mix(in srgb, var(--part) 45%, var(--vscode-editor-background));
  }

  .tile .ground {
    fill: var(--vscode-sideBar-background, var(--vscode-editorWidget-background));
  }

  .tile .edge {
    fill: none;
    stroke: var(--vscode-contrastBorder, color-mix(in srgb, var(--vscode-foreground) 22%, transparent));
  }

  .tile:hover > .edge {
    stroke: var(--vscode-foreground);
  }

  .tile.selected > .edge,
  .tile:focus-visible > .edge {
    stroke: var(--vscode-focusBorder);
    stroke-width: 4;
  }

  .hatched {
    fill: url(#hatch);
  }

  .dotted {
    fill: url(#dots);
  }

  .hatch {
    stroke: color-mix(in srgb, var(--vscode-foreground) 28%, transparent);
    stroke-width: 1.5;
  }

  .dot {
    fill: color-mix(in srgb, var(--vscode-foreground) 40%, transparent);
  }

  text {
    fill: var(--vscode-foreground);
    font-size: 11px;
    pointer-events: none;
  }

  .frame > text {
    font-weight: 600;
  }

  .details {
    min-height: 34px;
    margin: 8px 0 16px;
    padding: 4px 8px;
    border: 1px solid var(--vscode-contrastBorder, var(--vscode-widget-border, transparent));
    border-radius: 6px;
    background: var(--vscode-editorWidget-background);
  }

  .words {
    overflow-wrap: anywhere;
    font-variant-numeric: tabular-nums;
  }

  .columns {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(260px, 1fr));
    gap: 20px;
  }

  .row {
    display: grid;
    grid-template-columns: 11em 1fr 6em;
    align-items: center;
    gap: 8px;
    padding: 2px 0;
  }

  .number {
    text-align: end;
    font-variant-numeric: tabular-nums;
    white-space: nowrap;
  }

  ul {
    max-height: 180px;
    margin: 0;
    padding: 0;
    overflow-y: auto;
    list-style: none;
  }

  .table-frame {
    max-height: 420px;
    overflow: auto;
  }

  table {
    width: 100%;
    border-collapse: collapse;
  }

  th,
  td {
    padding: 3px 8px;
    border-bottom: 1px solid var(--vscode-widget-border, var(--vscode-contrastBorder, transparent));
    font-weight: 400;
    text-align: start;
  }

  th[scope='row'] {
    white-space: nowrap;
  }

  thead th {
    position: sticky;
    top: 0;
    background: var(--vscode-editor-background);
    font-weight: 600;
  }

  thead th.number {
    text-align: end;
  }

  .actions {
    white-space: nowrap;
  }

  .link .codicon {
    font-size: 14px;
    vertical-align: text-bottom;
  }
`;
