/**
 * How the sidecar is started, for whoever starts it.
 *
 * Replies leave through a descriptor of their own, so that a stray print, even from native code, which always goes
 * to descriptor 1, cannot land between two messages. A parent that can hand over a fourth descriptor starts
 * `serve --protocol-fd 3` with `stdio: ['pipe', 'pipe', 'pipe', 'pipe']`, reads messages from `child.stdio[3]` and
 * treats stdout like stderr: as log. Any other LSP client starts plain `serve`, which starts itself again that way.
 */
export const PROTOCOL_FD = 3;
export const SERVE_ARGUMENTS: readonly string[] = ['serve', '--protocol-fd', String(PROTOCOL_FD)];

/**
 * Whether to start it in a session of its own (`detached`), which it then lowers as a whole: in Linux the scheduler shares
 * processors among sessions before it looks at any thread's niceness. It ends with its parent all the same (watchdog).
 */
export const IN_OWN_SESSION = process.platform === 'linux';
