/** Fonts for the text of SVG files: a plain one and one of fixed width, from where systems keep them. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const FOLDERS = [
  '/usr/share/fonts/truetype/dejavu',
  '/usr/share/fonts/dejavu',
  '/usr/share/fonts/TTF',
  '/usr/share/fonts/truetype/liberation',
  '/System/Library/Fonts/Supplemental',
  '/System/Library/Fonts',
  'C:\\Windows\\Fonts',
];
/** The first one that is there of each list; bold beside plain. */
const WANTED = [
  ['DejaVuSans.ttf', 'LiberationSans-Regular.ttf', 'Arial.ttf', 'arial.ttf'],
  ['DejaVuSans-Bold.ttf', 'LiberationSans-Bold.ttf', 'Arial Bold.ttf', 'arialbd.ttf'],
  ['DejaVuSansMono.ttf', 'LiberationMono-Regular.ttf', 'Courier New.ttf', 'cour.ttf'],
];

/** Empty where none of them is installed. */
export function systemFonts(): Uint8Array[] {
  const files = new Map<string, string>();
  for (const folder of FOLDERS) {
    for (const name of namesIn(folder)) if (!files.has(name)) files.set(name, path.join(folder, name));
  }
  return WANTED.flatMap((names) => {
    const file = names.map((name) => files.get(name)).find((found) => found !== undefined);
    return file === undefined ? [] : [readFileSync(file)];
  });
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
