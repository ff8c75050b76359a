/** What @selection, @problems and @terminal stand for. Files, folders and @diff are read by the sidecar. */

import { stripVTControlCharacters } from 'node:util';
import * as vscode from 'vscode';
import type { AttachedMention } from '../webview/messages.ts';
import type { Attachment } from '../webview/state.ts';
import { selectedText } from './editor-actions.ts';

const { t } = vscode.l10n;

const MAX_PROBLEMS = 200;
const MAX_TERMINAL_CHARACTERS = 32_000;

/** @throws an error with a sentence when there is nothing of the kind */
export function mentionedText(kind: AttachedMention, terminal: TerminalOutput): Attachment {
  const attachment = {
    selection: () => selectedText(vscode.window.activeTextEditor ?? vscode.window.visibleTextEditors[0]),
    problems: () => named('problems', t('Problems'), problems()),
    terminal: () => named('terminal', t('Terminal'), terminal.last()),
  }[kind]();
  if (attachment === null) throw new Error(NOTHING[kind]());
  return attachment;
}

/** Mentions of this kind in the text of a question. */
export function attachedMentions(question: string): AttachedMention[] {
  return (['selection', 'problems', 'terminal'] as const).filter((kind) =>
    new RegExp(`(?:^|[\\s(])@${kind}\\b`).test(question),
  );
}

const NOTHING: Readonly<Record<AttachedMention, () => string>> = {
  selection: () => t('Nothing is selected in an editor, so @selection stands for nothing.'),
  problems: () => t('The editor shows no problems, so @problems stands for nothing.'),
  terminal: () =>
    t(
      'No command has been seen in a terminal, so @terminal stands for nothing. It needs a shell with shell integration.',
    ),
};

function named(kind: 'problems' | 'terminal', path: string, text: string): Attachment | null {
  if (text === '') return null;
  return { kind, path, startLine: 1, endLine: text.split('\n').length, text };
}

/** One line a problem, errors first, as compilers write them. */
function problems(): string {
  const names = ['error', 'warning', 'information', 'hint'];
  const all = vscode.languages
    .getDiagnostics()
    .filter(([uri]) => vscode.workspace.getWorkspaceFolder(uri) !== undefined)
    .flatMap(([uri, list]) =>
      list.map((problem) => ({ path: vscode.workspace.asRelativePath(uri), problem })),
    )
    .sort((a, b) => a.problem.severity - b.problem.severity);
  const lines = all.slice(0, MAX_PROBLEMS).map(({ path, problem }) => {
    const { line, character } = problem.range.start;
    const source = problem.source === undefined ? '' : ` [${problem.source}]`;
    return `${path}:${line + 1}:${character + 1}: ${names[problem.severity]}: ${problem.message.replaceAll('\n', ' ')}${source}`;
  });
  if (all.length > MAX_PROBLEMS) lines.push(`… ${all.length - MAX_PROBLEMS} more problems`);
  return lines.join('\n');
}

/** Keeps the end of what the last command in a terminal wrote; shells with shell integration only. */
export class TerminalOutput implements vscode.Disposable {
  #last = '';
  readonly #subscription = vscode.window.onDidStartTerminalShellExecution(({ execution }) => {
    void this.#follow(execution);
  });

  /** The command and its output; empty when none was seen. */
  last(): string {
    return this.#last;
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  async #follow(execution: vscode.TerminalShellExecution): Promise<void> {
    const command = `$ ${execution.commandLine.value}`;
    let output = '';
    for await (const data of execution.read()) {
      output += data;
      if (output.length > 2 * MAX_TERMINAL_CHARACTERS) output = output.slice(-MAX_TERMINAL_CHARACTERS);
      const shown = stripVTControlCharacters(output).replaceAll(/\r\n?/g, '\n');
      const cut =
        shown.length > MAX_TERMINAL_CHARACTERS ? `…${shown.slice(-MAX_TERMINAL_CHARACTERS)}` : shown;
      this.#last = `${command}\n${cut}`.trimEnd();
    }
  }
}
