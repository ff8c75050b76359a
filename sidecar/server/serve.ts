/** The process around the server: its descriptors, its watchdog, its end. */
import { PROTOCOL_FD } from '../protocol/launch.ts';
import { descriptorStream } from './descriptor-stream.ts';
import { relaunchWithProtocolDescriptor } from './launcher.ts';
import { lowerOwnSession } from './own-session.ts';
import type { ServerOptions } from './server.ts';
import { startWatchdog } from './watchdog.ts';

export interface ServeOptions
  extends Pick<ServerOptions, 'loadEngine' | 'version' | 'defaults' | 'cacheFolder'> {
  /** Where replies go; null to start again with a descriptor of its own for them. */
  readonly protocolFd: number | null;
  /** How far this process's session, if it is its own, is lowered behind those of the editor; 0 to 19. */
  readonly niceness: number;
  /** This program, and the arguments that make it serve. */
  readonly script: string;
  readonly relaunchArguments: readonly string[];
}

/** Resolves with the exit code. */
export async function serve(options: ServeOptions): Promise<number> {
  if (options.protocolFd === null) {
    return relaunchWithProtocolDescriptor(options.script, options.relaunchArguments);
  }
  if (options.protocolFd !== PROTOCOL_FD) {
    throw new RangeError(`--protocol-fd must be ${PROTOCOL_FD}: lower descriptors carry input and log.`);
  }
  // First of all, so that a parent that dies while the rest is loaded is noticed too.
  const watchdog = startWatchdog();
  void lowerOwnSession(options.niceness);
  const { runServer } = await import('./server.ts');
  const output = descriptorStream(options.protocolFd);
  const code = await runServer({
    ...options,
    input: process.stdin,
    output,
    onClientProcess: (pid) => {
      if (isAlive(pid)) watchdog.watch(pid);
    },
  });
  watchdog.leave();
  process.exit(code);
}

/** A client in another container names a process that means nothing here. */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
