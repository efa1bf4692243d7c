/** The message that ends a replay, among all that come. */

import { parseReplayFrames, WireError } from "@kvsync/core";

import type { Frames } from "./transport.ts";

/**
 * Whether a reply ends the replay, in either shape. What only looks like it does not: the stream would wait for ever for the end of it.
 *
 * @param frames - as received.
 * @returns true for the end marker.
 */
export function isReplayEnd(frames: Frames): boolean {
  // Only the end marker has an empty payload (core's wire/README.md), so that nearly no reply is parsed here.
  if (frames.at(-1)?.byteLength !== 0) return false;
  try {
    return parseReplayFrames(frames).kind === "end";
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return false;
  }
}
