/**
 * Whose work comes first between the editor and the model, in Linux.
 *
 * The scheduler shares processors among sessions first (autogroups, man 7 sched) and weighs niceness only among threads of
 * one session. So who starts a sidecar gives it a session of its own (`IN_OWN_SESSION`), and the sidecar lowers that session
 * as a whole: otherwise it has as much as all of a browser or another editor that runs in a session of its own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { IN_OWN_SESSION } from '../protocol/launch.ts';

const AUTOGROUP = '/proc/self/autogroup';

/** The system takes one change in 100 ms, of all processes that are not privileged. */
const BETWEEN_TRIES_MS = 150;
const TRIES = 5;

/**
 * Lowers the session of this process by `niceness` (1 to 19), if it is the session's first: true if that was done. False
 * also where the system has no such groups. Never throws: it is only a matter of comfort.
 */
export async function lowerOwnSession(niceness: number): Promise<boolean> {
  if (!IN_OWN_SESSION || !leadsSession()) return false;
  for (let i = 0; i < TRIES; i++) {
    try {
      writeFileSync(AUTOGROUP, String(niceness));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return false;
      await pause(BETWEEN_TRIES_MS, undefined, { ref: false });
    }
  }
  return false;
}

/** Whether this process has begun its session, so that nobody's but its own children are in it. */
function leadsSession(): boolean {
  try {
    // pid (name, which may hold anything) state ppid group session ...
    const fields = readFileSync('/proc/self/stat', 'utf8');
    return Number(fields.slice(fields.lastIndexOf(')') + 2).split(' ')[3]) === process.pid;
  } catch {
    return false;
  }
}
