/** Codicons inside shadow roots: one shared sheet with the glyphs; the font itself is declared by the page. */

import codicons from '@vscode/codicons/dist/codicon.css';
import { html, type TemplateResult, unsafeCSS } from 'lit';

export const iconStyles = unsafeCSS(codicons.replace(/@font-face\s*\{[^}]*\}/, ''));

/** A decoration: whatever it means must also be said in words. */
export function icon(name: string): TemplateResult {
  return html`<span class="codicon codicon-${name}" aria-hidden="true"></span>`;
}
