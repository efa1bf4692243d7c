/** The cost of a piece of work for this thread: CPU time, and memory that it leaves held. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const collectGarbage = ((): (() => void) => {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
})();

/** Bytes of live objects and buffers. */
export function heldBytes(): number {
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Milliseconds of CPU time of this thread. */
export async function cpuMs(work: () => unknown): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

/** The middle value. */
export function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 1] ?? Number.NaN;
}

/** The value that a quarter of them do not exceed. */
export function quartile(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 2] ?? Number.NaN;
}
