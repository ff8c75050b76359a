/** Bundle of its own: pages of draw.io drawn by us, as no renderer of it could be bundled. */

import type { Drawing } from './draw-diagram.ts';
import { drawPage } from './drawio/draw-page.ts';

/** `source`: the XML of one page, not deflated. @throws with the reason when it is none */
export async function draw(source: string): Promise<Drawing> {
  return drawPage(source);
}
