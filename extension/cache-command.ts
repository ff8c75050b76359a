/** "Clear Cache": deletes what of prompts is kept on disk. */
import * as vscode from 'vscode';
import type { SidecarClient } from './client.ts';
import { memorySize } from './memory-size.ts';

const { t } = vscode.l10n;

export function activateCacheCommand(context: vscode.ExtensionContext, client: SidecarClient): void {
  context.subscriptions.push(
    vscode.commands.registerCommand('gemmaSidecar.cache.clear', async () => {
      try {
        const { freedBytes } = await client.clearCache();
        void vscode.window.showInformationMessage(t('Deleted {0} from the cache.', memorySize(freedBytes)));
      } catch (error) {
        void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
      }
    }),
  );
}
