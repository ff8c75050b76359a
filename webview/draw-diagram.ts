/**
 * From the source of a diagram to an SVG, by the diagram languages' own programs. Each is a bundle of its own that is loaded
 * when the first diagram of its kind is drawn; both work offline and under the page's policy.
 */

import { ImageProblem } from '../sidecar/protocol/image-header.ts';
import type { DiagramLanguage } from './messages.ts';

/** What such a bundle exports. */
export interface DiagramRenderer {
  /** The text of an SVG document. @throws with the reason when the source is not understood */
  draw(source: string): Promise<string>;
}

const BUNDLES: Readonly<Record<DiagramLanguage, string>> = {
  mermaid: './mermaid.js',
  plantuml: './plantuml.js',
};

/** @throws ImageProblem with a sentence that names the file */
export async function drawDiagram(name: string, language: DiagramLanguage, source: string): Promise<string> {
  try {
    const bundle: DiagramRenderer = await import(new URL(BUNDLES[language], import.meta.url).href);
    return await bundle.draw(source);
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n');
    throw new ImageProblem(`“${name}” could not be drawn (${(reason ?? '').slice(0, 200)}).`);
  }
}
