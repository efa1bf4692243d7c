/**
 * Ends the process with an exit code while its threads may be doing anything.
 *
 * `process.exit` ends the worker threads first. It waits without end for a thread inside libzmq. A thread with open sockets can throw while it is torn down,
 * which aborts the process (SIGABRT instead of the exit code; zeromq.js 6.8). Replacing the process image ends all threads at once and closes
 * every socket. Node before 22.15 and Windows cannot do that: there the sockets are closed first, within CLOSE_MS. If that fails too, SIGKILL ends the process,
 * and the supervisor gets 137 instead of the code.
 */

/** Time to close sockets where the process image cannot be replaced. */
const CLOSE_MS = 2000;

/** The declarations of the oldest supported Node do not have it. */
interface Replaceable {
  readonly execve?: (file: string, args: readonly string[], environment: object) => never;
}

let isEnding = false;

/**
 * Ends the process, at the latest after CLOSE_MS. Nothing is saved, no `exit` listener runs where the image is replaced.
 *
 * @param code - exit code for the supervisor.
 * @param close - closes the sockets of all threads; null when none is open.
 */
export function endProcess(code: number, close: (() => Promise<void>) | null): void {
  try {
    (process as Replaceable).execve?.(
      process.execPath,
      [process.execPath, "-e", `process.exit(${code})`],
      {},
    );
  } catch {
    // Not supported here.
  }
  if (isEnding) return;
  isEnding = true;
  if (close === null) process.exit(code);
  setTimeout(() => process.kill(process.pid, "SIGKILL"), CLOSE_MS);
  close().then(
    () => process.exit(code),
    () => process.kill(process.pid, "SIGKILL"),
  );
}
