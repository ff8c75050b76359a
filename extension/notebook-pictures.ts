/** Pictures among the outputs of notebook cells. */

import * as vscode from 'vscode';

const { t } = vscode.l10n;

export interface NotebookPicture {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Best first: one output often brings the same picture in several forms. */
const PICTURE_TYPES = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/bmp', 'image/svg+xml'];

/**
 * Of the output that was clicked, of the cell whose menu was opened, or else of the selected cell.
 * `given`: what the editor hands to a command of those menus.
 */
export function notebookPictures(given: unknown): NotebookPicture[] {
  const output = clickedOutput(given);
  if (output !== null) return picturesOf(output.cell, [output.output]);
  const cell = isCell(given) ? given : selectedCell();
  return cell === null ? [] : picturesOf(cell, cell.outputs);
}

function picturesOf(
  cell: vscode.NotebookCell,
  outputs: readonly vscode.NotebookCellOutput[],
): NotebookPicture[] {
  return outputs.flatMap(({ items }) => {
    const best = PICTURE_TYPES.map((type) => items.find(({ mime }) => mime === type)).find((item) => item);
    return best === undefined ? [] : [{ name: t('Output of cell {0}', cell.index + 1), bytes: best.data }];
  });
}

interface PlacedOutput {
  readonly cell: vscode.NotebookCell;
  readonly output: vscode.NotebookCellOutput;
}

/** The menu over an output knows its id, which the editor's own objects carry too, though their type does not say so. */
function clickedOutput(given: unknown): PlacedOutput | null {
  if (typeof given !== 'object' || given === null || !('outputId' in given)) return null;
  for (const { notebook } of vscode.window.visibleNotebookEditors)
    for (const cell of notebook.getCells())
      for (const output of cell.outputs)
        if ('id' in output && output.id === given.outputId) return { cell, output };
  return null;
}

function isCell(value: unknown): value is vscode.NotebookCell {
  return typeof value === 'object' && value !== null && 'notebook' in value && 'outputs' in value;
}

function selectedCell(): vscode.NotebookCell | null {
  const editor = vscode.window.activeNotebookEditor;
  return editor === undefined ? null : editor.notebook.cellAt(editor.selection.start);
}
