/**
 * Lets lookups go first when cores are short: the ingest thread asks the kernel for a lower priority than its process has.
 *
 * On Linux a priority belongs to a thread, and setpriority takes a thread's id; Node has no thread
 * ids, but /proc/thread-self has them. Under a burst of events on two busy cores, this took lookups
 * from a p99 of 37-210 ms to 5-16 ms. It cost ingest nothing measurable
 * (bench/lookup-latency.bench.ts). Sockets made afterward inherit it for libzmq's own threads.
 */

import { readlinkSync } from "node:fs";
import { constants, getPriority, setPriority } from "node:os";

/** Nice steps below the process: a third of its weight, so that ingest still gets its share of a full machine. */
const STEPS_BACK = 5;

/**
 * Lowers the calling thread's priority; elsewhere than on Linux, or where that is forbidden, nothing happens.
 *
 * @returns whether it was lowered.
 */
export function yieldToLookups(): boolean {
  try {
    const threadId = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    setPriority(threadId, Math.min(getPriority(threadId) + STEPS_BACK, constants.priority.PRIORITY_LOW));
    return true;
  } catch {
    // No /proc, or no such right: then the scheduler treats both alike, as it did before.
    return false;
  }
}
