/** Bundle of its own: Mermaid's sources drawn by Mermaid. */

import mermaid from 'mermaid';
import type { Drawing } from './draw-diagram.ts';

mermaid.initialize({
  startOnLoad: false,
  securityLevel: 'strict',
  suppressErrorRendering: true,
  theme: 'default',
  fontFamily: 'sans-serif',
  // A picture with HTML in it cannot be read back from a canvas. The ELK layout is left out of the bundle.
  htmlLabels: false,
  flowchart: { htmlLabels: false },
  layout: 'dagre',
  // A source may carry settings; these are ours.
  secure: [
    'secure',
    'securityLevel',
    'startOnLoad',
    'maxTextSize',
    'maxEdges',
    'suppressErrorRendering',
  ].concat(['htmlLabels', 'layout', 'fontFamily', 'themeCSS']),
});

let drawn = 0;

/** @throws Mermaid's message for a source that it does not understand */
export async function draw(source: string): Promise<Drawing> {
  const { svg } = await mermaid.render(`mermaid-${++drawn}`, source);
  return { svg, notes: [] };
}
