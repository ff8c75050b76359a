/** The child process that holds the model: start it, read its log, end it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Readable, type Writable } from 'node:stream';
import { IN_OWN_SESSION, PROTOCOL_FD, SERVE_ARGUMENTS } from '../sidecar/protocol/launch.ts';

/** A healthy sidecar leaves as soon as its stdin closes; this is how long a stuck one is waited for. */
const STOP_TIMEOUT_MS = 2_000;

export interface SidecarExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last lines it wrote to its log. */
  readonly lastLines: readonly string[];
  /** Set when the process could not be started at all. */
  readonly startError?: string;
  /** Set when we ended it, and why. */
  readonly killedBecause?: string;
}

export interface SidecarCommand {
  /** The JavaScript file to run. */
  readonly entry: string;
  /** Options of the runtime, before the entry. */
  readonly runtimeArguments?: readonly string[];
  readonly workingDirectory: string;
}

export class SidecarProcess {
  readonly exited: Promise<SidecarExit>;
  /** Messages to the sidecar. */
  readonly input: Writable;
  /** Messages from the sidecar, on a descriptor of their own: stdout is log, like stderr. */
  readonly output: Readable;
  readonly #child: ChildProcess;
  #killedBecause: string | undefined;

  constructor(command: SidecarCommand, logLine: (line: string) => void) {
    // The editor's own runtime runs the sidecar, so a user needs no Node of their own.
    const child = spawn(
      process.execPath,
      [...(command.runtimeArguments ?? []), command.entry, ...SERVE_ARGUMENTS],
      {
        cwd: command.workingDirectory,
        env: { ...scrubbedEnvironment(process.env), ELECTRON_RUN_AS_NODE: '1' },
        stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
        windowsHide: true,
        detached: IN_OWN_SESSION,
      },
    );
    const output = child.stdio[PROTOCOL_FD];
    if (child.stdin === null || !(output instanceof Readable))
      throw new Error('The sidecar has no pipes to talk through.');
    this.#child = child;
    this.input = child.stdin;
    this.output = output;
    // A write to a dead process is reported through `exited`; unhandled, it would be an error of the editor's.
    this.input.on('error', () => {});
    this.exited = watchExit(child, logLine).then((exit) =>
      this.#killedBecause === undefined ? exit : { ...exit, killedBecause: this.#killedBecause },
    );
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Ends it at once. */
  kill(because: string): void {
    this.#killedBecause = because;
    this.#child.kill('SIGKILL');
  }

  /** Closes stdin, which ends a healthy sidecar, and kills it if that does not help. */
  async stop(): Promise<void> {
    this.input.end();
    const timer = setTimeout(() => this.kill('it did not leave'), STOP_TIMEOUT_MS);
    await this.exited;
    clearTimeout(timer);
  }
}

/**
 * What the sidecar gets to see of the environment: where to find homes, caches and fonts of language, and our own
 * variables, but no tokens, proxies or loader options that happen to be set.
 */
export function scrubbedEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => ALLOWED_VARIABLE.test(name)));
}

const ALLOWED_VARIABLE =
  /^(PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|XDG_\w+|SystemRoot|windir|USERPROFILE|APPDATA|LOCALAPPDATA|NODE_V8_COVERAGE|GEMMA_SIDECAR_\w+)$/i;

const KEPT_LINES = 20;

function watchExit(child: ChildProcess, logLine: (line: string) => void): Promise<SidecarExit> {
  const lastLines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      logLine(line);
      lastLines.push(line);
      if (lastLines.length > KEPT_LINES) lastLines.shift();
    });
  }
  return new Promise((resolve) => {
    child.once('error', (error) =>
      resolve({ code: null, signal: null, lastLines, startError: error.message }),
    );
    child.once('exit', (code, signal) => resolve({ code, signal, lastLines }));
  });
}
