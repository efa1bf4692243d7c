/**
 * How many DP ranks the process has file descriptors for. libzmq ends the process when it runs out of them in the wrong
 * place, so that ranks are refused before.
 */

import { readFileSync } from "node:fs";

/** Descriptors per rank, counted in /proc/PID/fd with a thousand ranks: socket, its monitor's pair, the connection. */
const FILES_PER_RANK = 4;
/** Left for HTTP connections, replays under way (4 each) and the process itself. */
const FILES_RESERVED = 320;
/** Where the limit cannot be read (no /proc): macOS's default, which Node raises to. */
const FILES_ASSUMED = 10_240;

/**
 * Ranks that can be followed at once within the limit on open files.
 *
 * @param limits - text of /proc/self/limits; read from there unless given.
 * @returns at least 1.
 */
export function ranksWithinOpenFiles(limits: string = readLimits()): number {
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === "unlimited") return Number.POSITIVE_INFINITY;
  const files = soft === undefined ? FILES_ASSUMED : Number(soft);
  return Math.max(1, Math.floor((files - FILES_RESERVED) / FILES_PER_RANK));
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
