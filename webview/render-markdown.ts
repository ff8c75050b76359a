/** Markdown to DOM: rendered, sanitised before it is any DOM of ours, then given its citations, links and code blocks. */

import DOMPurify from 'dompurify';
import { type Citation, splitCitations } from './citations.ts';
import { markdown } from './markdown-blocks.ts';
import { send } from './port.ts';

const ALLOWED_TAGS = [
  ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'ul', 'ol', 'li', 'blockquote', 'pre', 'code'],
  ...['em', 'strong', 's', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td'],
];
const ALLOWED_ATTRIBUTES = ['href', 'start', 'class'];

/** One prose block, ready to be put into the page. `citedPaths`: see ModelMessage. */
export function renderProse(source: string, citedPaths: Readonly<Record<string, string>>): DocumentFragment {
  const fragment = DOMPurify.sanitize(markdown.render(source), {
    ALLOWED_TAGS,
    ALLOWED_ATTR: ALLOWED_ATTRIBUTES,
    ALLOWED_URI_REGEXP: /^https?:\/\//i,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const anchor of fragment.querySelectorAll('a')) anchor.replaceWith(linkButton(anchor));
  for (const pre of fragment.querySelectorAll('pre')) pre.replaceWith(codeBlock(pre));
  for (const table of fragment.querySelectorAll('table')) wrapForScrolling(table);
  for (const text of textNodes(fragment)) citeIn(text, citedPaths);
  return fragment;
}

/** An anchor would be opened by the editor at once; a button lets the host show the whole address first. */
function linkButton(anchor: HTMLAnchorElement): Element {
  const url = anchor.getAttribute('href');
  if (url === null) {
    const text = document.createElement('span');
    text.append(...anchor.childNodes);
    return text;
  }
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'link';
  button.title = url;
  button.setAttribute('role', 'link');
  button.append(...anchor.childNodes);
  button.addEventListener('click', () => void send({ type: 'open-link', url }).catch(() => {}));
  return button;
}

function codeBlock(pre: HTMLPreElement): Element {
  const code = pre.querySelector('code');
  const block = document.createElement('gemma-code-block');
  block.code = pre.textContent ?? '';
  block.language = /(?:^|\s)language-(\S+)/.exec(code?.className ?? '')?.[1] ?? '';
  return block;
}

function wrapForScrolling(table: HTMLTableElement): void {
  const frame = document.createElement('div');
  frame.className = 'table-frame';
  frame.tabIndex = 0;
  frame.setAttribute('role', 'region');
  frame.setAttribute('aria-label', 'Table');
  table.replaceWith(frame);
  frame.append(table);
}

function textNodes(fragment: DocumentFragment): Text[] {
  const nodes: Text[] = [];
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    if (node instanceof Text && node.parentElement?.closest('button') == null) nodes.push(node);
  }
  return nodes;
}

function citeIn(text: Text, citedPaths: Readonly<Record<string, string>>): void {
  const pieces = splitCitations(text.data);
  if (!pieces.some((piece) => piece.citation)) return;
  const nodes = pieces.map(({ text: label, citation }) =>
    citation
      ? citationButton(label, { ...citation, path: citedPaths[citation.path] ?? citation.path })
      : label,
  );
  text.replaceWith(...nodes);
}

function citationButton(label: string, citation: Citation): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'link citation';
  button.dataset['testid'] = 'citation';
  button.setAttribute('role', 'link');
  button.textContent = label;
  const lines =
    citation.endLine === undefined
      ? `line ${citation.line}`
      : `lines ${citation.line} to ${citation.endLine}`;
  button.title = `Open ${citation.path}, ${lines}`;
  button.addEventListener('click', () => {
    void send({ type: 'open-file', ...citation }).catch((error: Error) => {
      button.dispatchEvent(
        new CustomEvent('gemma-notice', { detail: error.message, bubbles: true, composed: true }),
      );
    });
  });
  return button;
}
