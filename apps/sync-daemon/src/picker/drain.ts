/**
 * The end of a picker, without losing a request.
 *
 *     health: not serving ─▶ gateways notice ─▶ no new connections ─▶ open requests end ─▶ the rest is reset
 *                            └───────────────────── at most `picker.drain_seconds` ─────────────────────┘
 *
 *  Y1  It ends within its time, and as soon as no request is open (picker-daemon.e2e.test.ts "Y1").
 */

import { setTimeout as pause } from "node:timers/promises";

import type { Picker } from "./picker.ts";
import type { PickerServer } from "./picker-server.ts";

/** Time for gateways to see that the health has changed: some checks of theirs. */
const NOTICE_MS = 5000;

/**
 * Drains it.
 *
 * @param picker - whose health gateways see.
 * @param server - with their streams; it has stopped afterwards.
 * @param drainMs - longest time in all.
 * @returns how long it took, and the requests that were reset.
 */
export async function drain(
  picker: Pick<Picker, "drain">,
  server: PickerServer,
  drainMs: number,
): Promise<{ readonly ms: number; readonly reset: number }> {
  const beganMs = performance.now();
  const leftMs = (): number => Math.max(0, drainMs - (performance.now() - beganMs));
  picker.drain();
  // Nobody is there to notice without a connection.
  if (server.connectionCount > 0) await pause(Math.min(NOTICE_MS, leftMs()));
  const over = new AbortController();
  await Promise.race([
    server.drained(),
    pause(leftMs(), undefined, { signal: over.signal }).catch(() => undefined),
  ]);
  over.abort();
  const reset = server.streamCount;
  await server.stop();
  return { ms: performance.now() - beganMs, reset };
}
