/** Bundle of its own: PlantUML's sources drawn by PlantUML, compiled to JavaScript, with its own layout in place of Graphviz. */

import { renderToString } from '@plantuml/core/plantuml.js';
import type { Drawing } from './draw-diagram.ts';

/** Longer than any diagram takes; a source that never ends must not hold the picture for ever. */
const LIMIT_MS = 30_000;

/** @throws PlantUML's message for a source that it does not understand */
export async function draw(source: string): Promise<Drawing> {
  const svg = await new Promise<string>((resolve, reject) => {
    const fail = (message: string) => reject(new Error(message));
    setTimeout(() => fail('it took more than 30 seconds'), LIMIT_MS);
    renderToString(source.split(/\r?\n/), resolve, fail);
  });
  const problem = problemIn(svg);
  if (problem !== null) throw new Error(problem);
  return { svg, notes: [] };
}

/** PlantUML draws its error messages; such a picture shows nothing of the diagram. */
function problemIn(svg: string): string | null {
  const texts = [...new DOMParser().parseFromString(svg, 'image/svg+xml').querySelectorAll('text')].map(
    ({ textContent }) => textContent.trim(),
  );
  return texts.some((text) => /^\[From .*\(line \d+\)/.test(text))
    ? (texts.at(-1) ?? 'no reason given')
    : null;
}
