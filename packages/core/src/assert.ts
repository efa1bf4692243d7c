/**
 * Assertions: for promises that our own code makes to itself. A failed one is a bug in kvsync, ends the process, and the
 * restarted daemon rebuilds its state from the engines. Foreign input (wire, HTTP, files, settings) is never asserted
 * on; it is answered with a coded error (errors.ts).
 */

/** Thrown when our own code broke its own promise. Nothing catches it but the process's last handler. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * Holds `condition` to be true.
 *
 * @param condition - what must be true here.
 * @param message - what was promised; a function is called only on failure, so that hot paths build no text.
 * @throws AssertionError when it is not.
 */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionError(typeof message === "function" ? message() : message);
}

/**
 * Ends a `switch` over a closed set: a new member without a case becomes a compile error.
 *
 * @param value - the value that no case took.
 * @throws AssertionError always.
 */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
