/**
 * Ends the process with an exit code while its threads may be doing anything.
 *
 * `process.exit` first ends the worker threads and waits for them. A thread inside libzmq is waited
 * for without end, and one whose sockets are open can throw while it is torn down, which aborts the
 * process (SIGABRT instead of the exit code; zeromq.js 6.8). Replacing the process image ends all
 * threads at once and cannot fail in them. Node before 22.15 and Windows cannot do that: there it
 * is `process.exit`.
 */

/** What the declarations of the oldest supported Node do not know. */
interface Replaceable {
  readonly execve?: (file: string, args: readonly string[], environment: object) => never;
}

/**
 * Ends the process. Nothing is cleaned up, no `exit` listener runs.
 *
 * @param code - exit code for the supervisor.
 */
export function endAtOnce(code: number): never {
  try {
    (process as Replaceable).execve?.(
      process.execPath,
      [process.execPath, "-e", `process.exit(${code})`],
      {},
    );
  } catch {
    // Not supported here.
  }
  process.exit(code);
}
