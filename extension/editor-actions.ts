/**
 * What the chat does in the editor, each only after a click: open a cited file, insert code, open a link, take the
 * selection.
 */

import { realpath } from 'node:fs/promises';
import { sep } from 'node:path';
import * as vscode from 'vscode';
import type { Attachment } from '../webview/state.ts';
import { isInside, relativeSegments } from './workspace-path.ts';

const { t } = vscode.l10n;

/**
 * Opens a file of the workspace with lines `line` to `endLine` (from 1) selected; lines beyond the end mean the end.
 * @throws when the path is not one of the workspace
 */
export async function openWorkspaceFile(path: string, line: number, endLine = line): Promise<void> {
  const uri = await findInWorkspace(path);
  if (uri === null) throw new Error(t('“{0}” is not a file of this workspace.', path));
  const document = await vscode.workspace.openTextDocument(uri);
  const first = document.lineAt(Math.min(line, document.lineCount) - 1);
  const last = document.lineAt(Math.min(Math.max(endLine, line), document.lineCount) - 1);
  const selection =
    endLine > line
      ? new vscode.Range(first.range.start, last.range.end)
      : new vscode.Range(first.range.start, first.range.start);
  const editor = await vscode.window.showTextDocument(document, { selection });
  editor.revealRange(selection, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
}

/** Replaces the selection of the active editor, or inserts at its cursor. */
export async function insertAtCursor(text: string): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) throw new Error(t('Open a file and put the cursor where the code belongs.'));
  const inserted = await editor.edit((edit) => edit.replace(editor.selection, text));
  if (!inserted) throw new Error(t('The file cannot be edited.'));
  await vscode.window.showTextDocument(editor.document, editor.viewColumn);
}

/** What is selected, in whole lines; null without a selection. */
export function selectedText(editor: vscode.TextEditor | undefined): Attachment | null {
  if (editor === undefined || editor.selection.isEmpty) return null;
  const { document, selection } = editor;
  // A selection that ends before the first character of a line was made line by line.
  const endsBeforeLine = selection.end.character === 0 && selection.end.line > selection.start.line;
  const last = document.lineAt(selection.end.line - (endsBeforeLine ? 1 : 0));
  const lines = new vscode.Range(selection.start.line, 0, last.lineNumber, last.text.length);
  return {
    path: vscode.workspace.asRelativePath(document.uri),
    startLine: lines.start.line + 1,
    endLine: lines.end.line + 1,
    text: document.getText(lines),
  };
}

/** Shows the whole address and opens it only if the person agrees. */
export async function openLink(url: string): Promise<void> {
  const uri = vscode.Uri.parse(url, true);
  if (uri.scheme !== 'https' && uri.scheme !== 'http') throw new Error(t('Only web links can be opened.'));
  const open = t('Open');
  const choice = await vscode.window.showWarningMessage(
    t('The model wrote this link. Open it in your browser?'),
    { modal: true, detail: uri.toString(true) },
    open,
  );
  if (choice === open) await vscode.env.openExternal(uri);
}

async function findInWorkspace(path: string): Promise<vscode.Uri | null> {
  const segments = relativeSegments(path);
  if (segments === null) return null;
  for (const folder of vscode.workspace.workspaceFolders ?? []) {
    const uri = vscode.Uri.joinPath(folder.uri, ...segments);
    if (await isFileInside(folder.uri, uri)) return uri;
  }
  return null;
}

async function isFileInside(folder: vscode.Uri, file: vscode.Uri): Promise<boolean> {
  try {
    const { type } = await vscode.workspace.fs.stat(file);
    if ((type & vscode.FileType.File) === 0) return false;
    // A link inside the workspace may point out of it.
    return (
      file.scheme !== 'file' || isInside(await realpath(folder.fsPath), await realpath(file.fsPath), sep)
    );
  } catch {
    return false;
  }
}
