/** A loop without end fails its test, and does not stand still: the test runner cannot end what never returns. */
import { Script } from "node:vm";

const call = new Script("work()");

/**
 * Runs it, up to a time.
 *
 * @param ms - after which it is ended.
 * @param work - that does not wait for anything.
 * @throws what it throws, and ERR_SCRIPT_EXECUTION_TIMEOUT when the time is over.
 */
export function within<Result>(ms: number, work: () => Result): Result {
  return call.runInNewContext({ work }, { timeout: ms }) as Result;
}
