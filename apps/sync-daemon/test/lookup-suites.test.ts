/**
 * The suites of lookups over HTTP once more, with lookups answered by three threads. Each suite runs with the main thread
 * alone in its own file. The groups keep their hooks apart.
 */
import { describe } from "vitest";

import { answerInThreads } from "./daemon-in-process.ts";

answerInThreads(3);

/** A suite under a name of its own. */
function suite(name: string, load: () => Promise<unknown>): void {
  describe(name, async () => {
    await load();
  });
}

suite("access", () => import("./access.test.ts"));
suite("block sizes", () => import("./block-sizes.test.ts"));
suite("limit on contexts", () => import("./context-limit.test.ts"));
suite("HTTP", () => import("./http.test.ts"));
suite("hybrid hits", () => import("./hybrid-hits.test.ts"));
suite("media", () => import("./media.test.ts"));
suite("names of models", () => import("./model-names.test.ts"));
suite("prefix hashes", () => import("./prefix-hashes.test.ts"));
