/**
 * From the source of a diagram to an SVG, by the diagram languages' own programs, or ours for draw.io. Each is a bundle of its
 * own that is loaded when the first diagram of its kind is drawn; all work offline and under the page's policy.
 */

import { ImageProblem } from '../sidecar/protocol/image-header.ts';
import type { DiagramLanguage } from './messages.ts';

export interface Drawing {
  /** The text of an SVG document. */
  readonly svg: string;
  /** What is not drawn as in the diagram's own program, in sentences. */
  readonly notes: readonly string[];
}

/** What such a bundle exports. */
export interface DiagramRenderer {
  /** @throws with the reason when the source is not understood */
  draw(source: string): Promise<Drawing>;
}

const BUNDLES: Readonly<Record<DiagramLanguage, string>> = {
  mermaid: './mermaid.js',
  plantuml: './plantuml.js',
  drawio: './drawio.js',
};

/** @throws ImageProblem with a sentence that names the file */
export async function drawDiagram(name: string, language: DiagramLanguage, source: string): Promise<Drawing> {
  try {
    const bundle: DiagramRenderer = await import(new URL(BUNDLES[language], import.meta.url).href);
    return await bundle.draw(source);
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n');
    throw new ImageProblem(`“${name}” could not be drawn (${(reason ?? '').slice(0, 200)}).`);
  }
}
