/** One prose block of an answer, in the page's own tree so that the answer's styles apply to it. */

import { LitElement, type PropertyValues } from 'lit';
import { renderProse } from './render-markdown.ts';

export class GemmaProse extends LitElement {
  static override properties = { source: { type: String }, citedPaths: { attribute: false } };

  declare source: string;
  /** See ModelMessage. */
  declare citedPaths: Readonly<Record<string, string>> | undefined;

  constructor() {
    super();
    this.source = '';
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override updated(changed: PropertyValues<this>): void {
    if (!changed.has('source') && !changed.has('citedPaths')) return;
    this.replaceChildren(renderProse(this.source, this.citedPaths ?? {}));
  }
}

customElements.define('gemma-prose', GemmaProse);
