/** One status bar item: which model, and how it is; numbers in the tooltip, actions on click. */

import * as vscode from 'vscode';
import type { Status } from '../sidecar/protocol/methods.ts';
import type { Sidecar } from '../webview/state.ts';
import type { SidecarClient } from './client.ts';
import { isCompletionEnabled, setCompletionEnabled } from './config.ts';
import { memorySize } from './memory-size.ts';

const { t } = vscode.l10n;

export function activateStatusBar(context: vscode.ExtensionContext, client: SidecarClient): void {
  const item = vscode.window.createStatusBarItem('gemmaSidecar.status', vscode.StatusBarAlignment.Right, 100);
  item.name = 'Gemma Sidecar';
  item.command = 'gemmaSidecar.menu.show';
  let status: Status | null = null;
  let sidecar: Sidecar = { state: 'starting' };
  const draw = () => {
    const look = appearance(sidecar, status);
    item.text = `$(${look.icon}) ${look.text}`;
    item.tooltip = tooltip(look.detail, status);
    item.backgroundColor = look.problem
      ? new vscode.ThemeColor('statusBarItem.warningBackground')
      : undefined;
    item.accessibilityInformation = { label: `Gemma: ${look.detail}`, role: 'button' };
  };
  draw();
  item.show();
  context.subscriptions.push(
    item,
    client.onStatusChanged((next) => {
      status = next;
      draw();
    }),
    client.onSidecarChanged((next) => {
      sidecar = next;
      draw();
    }),
    vscode.commands.registerCommand('gemmaSidecar.menu.show', showMenu),
    vscode.commands.registerCommand('gemmaSidecar.completion.toggle', toggleCompletion),
  );
}

interface Appearance {
  readonly icon: string;
  readonly text: string;
  /** The state in words. */
  readonly detail: string;
  readonly problem: boolean;
}

function appearance(sidecar: Sidecar, status: Status | null): Appearance {
  const calm = (icon: string, text: string, detail: string): Appearance => ({
    icon,
    text,
    detail,
    problem: false,
  });
  const problem = (detail: string): Appearance => ({ icon: 'warning', text: 'Gemma', detail, problem: true });
  if (sidecar.state === 'stopped') return problem(sidecar.failure.message);
  if (sidecar.state === 'restarting')
    return calm('sync~spin', 'Gemma', t('Starting again ({0})', sidecar.reason));
  if (sidecar.state === 'starting' || status === null) return calm('loading~spin', 'Gemma', t('Starting'));
  const name = status.model?.name ?? 'Gemma';
  switch (status.state) {
    case 'starting':
      return calm('loading~spin', name, t('Starting'));
    case 'loading':
      return calm('loading~spin', name, t('Loading, {0} %', Math.round((status.progress ?? 0) * 100)));
    case 'ready':
      return status.readingAhead === undefined
        ? calm('sparkle', name, t('Ready'))
        : calm('book', name, readingAhead(status.readingAhead));
    case 'busy':
      return calm('sync~spin', name, t('Working'));
    case 'failed':
    case 'no-model':
      return problem(status.error ?? t('No model is loaded.'));
    default:
      return status.state satisfies never;
  }
}

function readingAhead({ done, total }: NonNullable<Status['readingAhead']>): string {
  return t('Ready; reading ahead: {0} of {1} tokens', done.toLocaleString(), total.toLocaleString());
}

function tooltip(detail: string, status: Status | null): vscode.MarkdownString {
  const text = new vscode.MarkdownString(undefined, false);
  text.appendMarkdown('**Gemma Sidecar**\n\n').appendText(detail);
  for (const [name, value] of facts(status)) {
    text.appendMarkdown('\n\n').appendText(`${name}: ${value}`);
  }
  return text;
}

function facts(status: Status | null): [string, string][] {
  const rows: [string, string][] = [];
  const {
    model,
    backend,
    contextLength,
    prefillTokensPerSecond: prefill,
    decodeTokensPerSecond: decode,
  } = status ?? {};
  if (model) rows.push([t('Model'), `${model.name} (${model.quantisation}, ${memorySize(model.fileBytes)})`]);
  if (backend) rows.push([t('Runs on'), backend]);
  if (contextLength) rows.push([t('Context'), t('{0} tokens', contextLength.toLocaleString())]);
  if (prefill) rows.push([t('Reads'), t('{0} tokens a second', rounded(prefill))]);
  if (decode) rows.push([t('Writes'), t('{0} tokens a second', rounded(decode))]);
  if (status?.weightsBytes) rows.push([t('Memory for weights'), memorySize(status.weightsBytes)]);
  if (status?.kvBytes) rows.push([t('Memory for context'), memorySize(status.kvBytes)]);
  return rows;
}

function rounded(value: number): string {
  return value.toLocaleString(undefined, { maximumFractionDigits: value < 100 ? 1 : 0 });
}

interface MenuItem extends vscode.QuickPickItem {
  readonly command: string;
}

async function showMenu(): Promise<void> {
  const languageId = vscode.window.activeTextEditor?.document.languageId;
  const enabled = isCompletionEnabled(vscode.window.activeTextEditor?.document);
  const items: MenuItem[] = [
    { label: `$(comment-discussion) ${t('Open Chat')}`, command: 'gemmaSidecar.chat.open' },
    {
      label: enabled ? `$(circle-slash) ${t('Turn Completion Off')}` : `$(check) ${t('Turn Completion On')}`,
      ...(languageId === undefined ? {} : { description: t('for {0}', languageId) }),
      command: 'gemmaSidecar.completion.toggle',
    },
    { label: `$(symbol-file) ${t('Choose Model File…')}`, command: 'gemmaSidecar.model.choose' },
    { label: `$(debug-restart) ${t('Restart Sidecar')}`, command: 'gemmaSidecar.sidecar.restart' },
    { label: `$(output) ${t('Show Log')}`, command: 'gemmaSidecar.log.show' },
  ];
  const picked = await vscode.window.showQuickPick(items, { title: 'Gemma Sidecar' });
  if (picked) await vscode.commands.executeCommand(picked.command);
}

/** For the language of the active editor; without one, for all. */
async function toggleCompletion(): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  await setCompletionEnabled(!isCompletionEnabled(document), document?.languageId);
}
