/**
 * Calls of tracing that the compiler refuses. `npx tsc -b` checks each: an expected error that does
 * not come is an error itself.
 */
import { expect, test } from "vitest";

import { serverOf } from "./server-attributes.ts";
import type { Tracing } from "./tracing.ts";

/** Never called: it is compiled. */
export function refusedByTheCompiler(tracing: Tracing): void {
  // @ts-expect-error a span that is not declared
  tracing.within("lookups", () => undefined);
  // @ts-expect-error a span of ingest threads
  tracing.within("ingest.apply", () => undefined);
  tracing.within("snapshot.find", (span) => {
    // @ts-expect-error a missing attribute
    span.set({});
    // @ts-expect-error a word that is not one of the attribute's
    span.set({ "kvsync.origin": "elsewhere" });
    // @ts-expect-error an attribute that is not declared
    span.set({ "kvsync.origin": "own", "kvsync.path": "/data" });
  });
}

test.each([
  ["http://collector:4318/v1", "collector", 4318],
  ["http://collector", "collector", 80],
  ["https://collector/x", "collector", 443],
])("the server of %s is %s at %i", (url, address, port) => {
  expect(serverOf(url)).toEqual({ "server.address": address, "server.port": port });
});
