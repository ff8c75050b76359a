/**
 * Pictures from the editor into the chat: from the Explorer, an image editor, a picture linked in Markdown, or the
 * source of a diagram, whose text goes along with its picture.
 */

import * as vscode from 'vscode';
import { MAX_PICTURE_FILE_BYTES } from '../sidecar/protocol/image-header.ts';
import type { DiagramLanguage } from '../webview/messages.ts';
import type { Attachment } from '../webview/state.ts';
import {
  type DiagramBlock,
  type DiagramKind,
  diagramBlocks,
  diagramKind,
  drawioPages,
  plainDrawio,
  plantumlSource,
  withoutPictureBytes,
} from './diagram-source.ts';
import { notebookPictures } from './notebook-pictures.ts';

const { t } = vscode.l10n;

/** What the chat offers to these commands. */
export interface PictureChat {
  open(): Promise<void>;
  /** Resolves when the page has decoded and attached it. @throws an error with a sentence when it cannot */
  attachFile(name: string, bytes: Uint8Array): Promise<void>;
  /** The same for the source of a diagram, which the page draws. */
  attachDrawing(name: string, language: DiagramLanguage, source: string): Promise<void>;
  attachText(attachment: Attachment): void;
  /** Why the model cannot see pictures; null when it can, or when nobody knows yet. */
  readonly blindness: string | null;
  /** Asks at once; what cannot be asked now is left in the input. Resolves when the answer has ended. */
  ask(question: string): Promise<void>;
}

const PICTURE_NAME = /\.(png|jpe?g|webp|gif|bmp|svg)$/i;
const MAX_SOURCE_CHARACTERS = 400_000;

export function activatePictureCommands(context: vscode.ExtensionContext, chat: PictureChat): void {
  const told = async (action: () => Promise<void>) => {
    try {
      await action();
    } catch (error) {
      void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
    }
  };
  context.subscriptions.push(
    vscode.commands.registerCommand('gemmaSidecar.image.explain', (uri?: unknown, all?: unknown) =>
      told(() => explainImages(chat, uri, all)),
    ),
    vscode.commands.registerCommand('gemmaSidecar.image.explainOutput', (given?: unknown) =>
      told(() => explainOutput(chat, given)),
    ),
    vscode.commands.registerCommand('gemmaSidecar.diagram.explain', (uri?: unknown, block?: unknown) =>
      told(() => explainDiagram(chat, uri, block)),
    ),
    vscode.languages.registerCodeLensProvider({ language: 'markdown' }, new PictureLenses()),
  );
}

/** Lets the person choose pictures; attaches each that can be read. */
export async function choosePictures(chat: PictureChat): Promise<void> {
  const uris = await vscode.window.showOpenDialog({
    title: t('Attach pictures'),
    openLabel: t('Attach'),
    canSelectMany: true,
    filters: {
      [t('Pictures')]: ['png', 'jpg', 'jpeg', 'webp', 'gif', 'bmp', 'svg'],
      [t('All files')]: ['*'],
    },
  });
  for (const uri of uris ?? []) await chat.attachFile(nameOf(uri), await readPicture(uri));
}

async function explainImages(chat: PictureChat, first: unknown, all: unknown): Promise<void> {
  const uris =
    Array.isArray(all) && all.length > 0 ? all.filter(isUri) : [isUri(first) ? first : activeUri()];
  const pictures = uris.filter((uri) => uri !== undefined);
  if (pictures.length === 0) throw new Error(t('Open a picture, or choose one in the Explorer.'));
  await chat.open();
  for (const uri of pictures) await chat.attachFile(nameOf(uri), await readPicture(uri));
  void chat.ask(questionAbout(pictures.length));
}

async function explainOutput(chat: PictureChat, given: unknown): Promise<void> {
  const pictures = notebookPictures(given);
  if (pictures.length === 0)
    throw new Error(
      t('The outputs of this cell hold no picture. Select a cell of a notebook that shows one.'),
    );
  await chat.open();
  for (const { name, bytes } of pictures) await chat.attachFile(name, bytes);
  void chat.ask(questionAbout(pictures.length));
}

function questionAbout(pictures: number): string {
  return pictures === 1 ? t('Explain this image.') : t('Explain these images.');
}

/** The whole file, or a block of it; as it stands in the editor, saved or not. */
async function explainDiagram(chat: PictureChat, given: unknown, block: unknown): Promise<void> {
  const uri = isUri(given) ? given : activeUri();
  const kind = isBlock(block) ? block.kind : uri && diagramKind(uri.path);
  if (uri === undefined || !kind)
    throw new Error(t('Open the source of a diagram (Mermaid, PlantUML, draw.io or SVG) first.'));
  const document = await vscode.workspace.openTextDocument(uri);
  const last = document.lineAt(document.lineCount - 1);
  const [startLine, endLine] = isBlock(block)
    ? [block.firstLine + 1, Math.min(block.lastLine, last.lineNumber) + 1]
    : [1, document.lineCount];
  const source = document.getText(
    new vscode.Range(startLine - 1, 0, endLine - 1, document.lineAt(endLine - 1).text.length),
  );
  const plain = kind === 'drawio' ? plainDrawio(source) : source;
  const text = kind === 'drawio' ? withoutPictureBytes(plain) : source;
  if (text.length > MAX_SOURCE_CHARACTERS)
    throw new Error(t('“{0}” is too long to be sent as text. Attach a picture of it instead.', nameOf(uri)));
  await chat.open();
  const alone = await drawn(chat, nameOf(uri), kind, plain);
  chat.attachText({
    path: vscode.workspace.asRelativePath(uri),
    startLine,
    endLine,
    text,
  });
  if (alone !== null) void vscode.window.showInformationMessage(alone);
  void chat.ask(t('Explain the diagram.'));
}

/** Attaches the picture of a diagram; else says why its text, or a part of it, goes alone. */
async function drawn(
  chat: PictureChat,
  name: string,
  kind: DiagramKind,
  text: string,
): Promise<string | null> {
  if (chat.blindness !== null) return t('The diagram is sent as text alone. {0}', chat.blindness);
  if (kind === 'drawio') return drawnPages(chat, name, text);
  try {
    if (kind === 'svg') await chat.attachFile(name, new TextEncoder().encode(text));
    else await chat.attachDrawing(name, kind, kind === 'plantuml' ? plantumlSource(text) : text);
    return null;
  } catch (error) {
    return t(
      'The diagram is sent as text alone. {0}',
      error instanceof Error ? error.message : String(error),
    );
  }
}

/** Each costs as much of the window as any picture does. */
const MAX_DRAWN_PAGES = 4;

/** Attaches a picture of each page of a draw.io file; else says what is missing. */
async function drawnPages(chat: PictureChat, file: string, plain: string): Promise<string | null> {
  const pages = drawioPages(plain);
  const problems: string[] = [];
  let attached = 0;
  for (const { name, source } of pages.slice(0, MAX_DRAWN_PAGES))
    try {
      const isOnly = pages.length === 1 || name === '';
      await chat.attachDrawing(isOnly ? file : `${file}, ${name}`, 'drawio', source);
      attached++;
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  if (attached === 0) return t('The diagram is sent as text alone. {0}', problems[0] ?? '');
  if (pages.length > MAX_DRAWN_PAGES)
    problems.push(t('Only the first {0} of {1} pages are sent as pictures.', MAX_DRAWN_PAGES, pages.length));
  return problems.length === 0 ? null : t('{0} Its text is sent whole.', problems.join(' '));
}

async function readPicture(uri: vscode.Uri): Promise<Uint8Array> {
  const { size } = await vscode.workspace.fs.stat(uri);
  if (size > MAX_PICTURE_FILE_BYTES)
    throw new Error(
      t('“{0}” is larger than 64 MiB. Save it smaller, or take a screenshot of it.', nameOf(uri)),
    );
  return vscode.workspace.fs.readFile(uri);
}

/** The file of the active editor, also where that shows a picture. */
function activeUri(): vscode.Uri | undefined {
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
  if (input instanceof vscode.TabInputCustom || input instanceof vscode.TabInputText) return input.uri;
  return vscode.window.activeTextEditor?.document.uri;
}

function nameOf(uri: vscode.Uri): string {
  return uri.path.slice(uri.path.lastIndexOf('/') + 1);
}

function isUri(value: unknown): value is vscode.Uri {
  return value instanceof vscode.Uri;
}

function isBlock(value: unknown): value is DiagramBlock {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, firstLine, lastLine } = value as Partial<DiagramBlock>;
  const lines = [firstLine, lastLine].every((line) => Number.isInteger(line) && Number(line) >= 0);
  return (kind === 'mermaid' || kind === 'plantuml') && lines;
}

/** Above each line of Markdown that shows a picture of the workspace, and each diagram: a way to have it explained. */
class PictureLenses implements vscode.CodeLensProvider {
  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    const lineCount = Math.min(document.lineCount, MAX_LENS_LINES);
    const lenses = diagramBlocks(lineCount, (line) => document.lineAt(line).text).map(
      (block) =>
        new vscode.CodeLens(document.lineAt(block.firstLine - 1).range, {
          command: 'gemmaSidecar.diagram.explain',
          title: t('Explain Diagram'),
          arguments: [document.uri, block],
        }),
    );
    for (let line = 0; line < lineCount; line++) {
      const { text, range } = document.lineAt(line);
      for (const target of imageLinks(text)) {
        const folder = vscode.Uri.joinPath(document.uri, '..');
        const uri = vscode.Uri.joinPath(folder, target);
        if (vscode.workspace.getWorkspaceFolder(uri) === undefined) continue;
        const command = {
          command: 'gemmaSidecar.image.explain',
          title: t('Explain Image'),
          arguments: [uri],
        };
        lenses.push(new vscode.CodeLens(range, command));
      }
    }
    return lenses;
  }
}

const MAX_LENS_LINES = 20_000;
const MAX_LINE_LENGTH = 2_000;

/** Relative targets of pictures on a line of Markdown. */
function imageLinks(line: string): string[] {
  if (line.length > MAX_LINE_LENGTH) return [];
  const targets = [...line.matchAll(/!\[[^\]]*\]\(<?([^()<>\s]+)/g)].map((match) => match[1] ?? '');
  return targets.flatMap((target) => {
    if (/^[a-z][a-z0-9+.-]*:|^[/#]/i.test(target) || !PICTURE_NAME.test(target)) return [];
    try {
      return [decodeURIComponent(target)];
    } catch {
      return [];
    }
  });
}
