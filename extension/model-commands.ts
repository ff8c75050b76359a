/** Choosing the model: among the files found on this machine, or any other file. */

import * as vscode from 'vscode';
import type { ModelInfo } from '../sidecar/protocol/methods.ts';
import type { SidecarClient } from './client.ts';
import { affectsModel, readSettings, setModelPath } from './config.ts';
import { memorySize } from './memory-size.ts';

const { t } = vscode.l10n;

export function activateModelCommands(context: vscode.ExtensionContext, client: SidecarClient): void {
  context.subscriptions.push(
    vscode.commands.registerCommand('gemmaSidecar.model.choose', () => chooseModel(client)),
    vscode.commands.registerCommand('gemmaSidecar.model.useBuiltIn', () => setModelPath(null)),
    vscode.workspace.onDidChangeConfiguration(async (change) => {
      if (!affectsModel(change)) return;
      try {
        const { modelPath, mmprojPath } = readSettings();
        if (client.isStopped) await client.restart();
        else await client.selectModel(modelPath ?? null, mmprojPath);
      } catch (error) {
        // The sidecar reports the reason as its status, which the chat shows.
        void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
      }
    }),
  );
}

interface ModelItem extends vscode.QuickPickItem {
  /** null is the built-in model, undefined asks for a file. */
  readonly path: string | null | undefined;
}

async function chooseModel(client: SidecarClient): Promise<void> {
  const browse: ModelItem = { label: `$(folder-opened) ${t('Browse…')}`, path: undefined };
  const found = client.models().then(
    (models) => [...models.map(modelItem), browse],
    () => [browse],
  );
  const picked = await vscode.window.showQuickPick(found, {
    title: t('Choose a Gemma 3 model'),
    placeHolder: t('Found on this machine, or any GGUF file'),
    matchOnDescription: true,
  });
  if (picked === undefined) return;
  const path = picked.path === undefined ? await browseForModel() : picked.path;
  if (path !== undefined) await setModelPath(path);
}

async function browseForModel(): Promise<string | undefined> {
  const files = await vscode.window.showOpenDialog({
    title: t('Choose a Gemma 3 model file'),
    openLabel: t('Use Model'),
    filters: { GGUF: ['gguf'], [t('All files')]: ['*'] },
  });
  return files?.[0]?.fsPath;
}

function modelItem(model: ModelInfo): ModelItem {
  const size = memorySize(model.fileBytes);
  return {
    label: model.builtIn ? `$(package) ${model.name}` : `$(symbol-file) ${model.name}`,
    description: model.builtIn ? t('built in') : model.quantisation,
    detail: model.builtIn ? size : `${size} · ${model.path}`,
    path: model.builtIn ? null : model.path,
  };
}
