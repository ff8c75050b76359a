/**
 * Pictures from the editor into the chat: from the Explorer, an image editor, a picture linked in Markdown, or the
 * source of a diagram, whose text goes along with its picture.
 */

import * as vscode from 'vscode';
import { MAX_PICTURE_FILE_BYTES } from '../webview/messages.ts';
import type { Attachment } from '../webview/state.ts';

const { t } = vscode.l10n;

/** What the chat offers to these commands. */
export interface PictureChat {
  open(): Promise<void>;
  /** Resolves when the page has decoded and attached it. @throws an error with a sentence when it cannot */
  attachFile(name: string, bytes: Uint8Array): Promise<void>;
  attachText(attachment: Attachment): void;
  /** Asks at once, or leaves the question to be typed while an answer is under way. */
  ask(question: string): void;
}

const PICTURE_NAME = /\.(png|jpe?g|webp|gif|bmp|svg)$/i;
const DIAGRAM_NAME = /\.(mmd|mermaid|puml|plantuml|drawio|dio|svg)$/i;
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
    vscode.commands.registerCommand('gemmaSidecar.diagram.explain', (uri?: unknown) =>
      told(() => explainDiagram(chat, uri)),
    ),
    vscode.languages.registerCodeLensProvider({ language: 'markdown' }, new ImageLinkLenses()),
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
  chat.ask(pictures.length === 1 ? t('Explain this picture.') : t('Explain these pictures.'));
}

async function explainDiagram(chat: PictureChat, given: unknown): Promise<void> {
  const uri = isUri(given) ? given : activeUri();
  if (uri === undefined || !DIAGRAM_NAME.test(uri.path))
    throw new Error(t('Open the source of a diagram (Mermaid, PlantUML, draw.io or SVG) first.'));
  const document = await vscode.workspace.openTextDocument(uri);
  const text = document.getText();
  if (text.length > MAX_SOURCE_CHARACTERS)
    throw new Error(t('“{0}” is too long to be sent as text. Attach a picture of it instead.', nameOf(uri)));
  await chat.open();
  // As it stands in the editor, saved or not. Other sources have no renderer that works offline; their text says it all.
  if (/\.svg$/i.test(uri.path)) await chat.attachFile(nameOf(uri), new TextEncoder().encode(text));
  chat.attachText({
    path: vscode.workspace.asRelativePath(uri),
    startLine: 1,
    endLine: document.lineCount,
    text,
  });
  chat.ask(t('Explain this diagram.'));
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

/** Above each line of Markdown that shows a picture of the workspace: a way to have it explained. */
class ImageLinkLenses implements vscode.CodeLensProvider {
  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    const lenses: vscode.CodeLens[] = [];
    for (let line = 0; line < Math.min(document.lineCount, MAX_LENS_LINES); line++) {
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
