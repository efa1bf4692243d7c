/**
 * Calls of the log that the compiler refuses. `npx tsc -b` checks each: an expected error that does
 * not come is an error itself.
 */
import { expect, test } from "vitest";

import { recordedLog } from "./testing/recorded-log.ts";

const RANK = { pod: "engine-0", model: "m", dp_rank: 0 };

/** Never called: it is compiled. */
export function refusedByTheCompiler(): void {
  const { log } = recordedLog();
  // @ts-expect-error an event that is not declared
  log("engine_conected", { ...RANK, endpoint: "tcp://h:1" });
  // @ts-expect-error a missing field
  log("engine_connected", RANK);
  // @ts-expect-error a value of another type
  log("engine_connected", { ...RANK, endpoint: 5557 });
  // @ts-expect-error a field that is not declared, written in the call
  log("engine_connected", { ...RANK, endpoint: "tcp://h:1", peer: "h" });
  const facts = { ...RANK, endpoint: "tcp://h:1", peer: "h" };
  // @ts-expect-error a field that is not declared, in a variable
  log("engine_connected", facts);
  // @ts-expect-error a word that is not one of the field's
  log("replay_ended", { ...RANK, status: "done" });
  // @ts-expect-error null where it has no meaning
  log("engine_connected", { ...RANK, endpoint: null });
  // @ts-expect-error a missing text, where each line has its own
  log("snapshot_failed", { folder: "/data" });
  // @ts-expect-error a text, where all lines have the same
  log("stopped", {}, { text: "stopped" });
  // @ts-expect-error a missing level, where there are several
  log("backpressure", { backpressure: "critical", live: 1, replay: 0 });
  // @ts-expect-error a level that the event does not have
  log("backpressure", { backpressure: "critical", live: 1, replay: 0 }, { level: "error" });
  const written: string = "free_text";
  // @ts-expect-error a code that is only text
  log(written, {});
}

test("a line gets component, level and message from its declaration", () => {
  const { log, lines } = recordedLog();
  log(
    "engine_unreachable",
    { ...RANK, endpoint: "tcp://h:1", reason: "refused" },
    { text: "cannot connect" },
  );
  log("backpressure", { backpressure: "critical", live: 1, replay: 0 }, { level: "warn" });
  log("stopped", {});
  expect(lines).toMatchObject([
    { component: "test", level: "warn", message: "cannot connect", trace: null },
    { component: "test", level: "warn", message: "back-pressure changed" },
    { component: "main", level: "info", message: "stopped" },
  ]);
});
