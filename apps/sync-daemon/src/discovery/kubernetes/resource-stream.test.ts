import { Readable } from "node:stream";

import fc from "fast-check";
import { expect, test } from "vitest";

import { ApiError } from "./api-error.ts";
import { podsOf, type PodReading } from "./pod-reading.ts";
import { presetRule } from "./pod-rule.ts";
import { readPage, readWatch, type WatchEvent } from "./resource-stream.ts";

const PODS = podsOf(presetRule("aibrix"));

const pod = (name: string, version: number, note: string) => ({
  metadata: {
    name,
    namespace: "serving",
    resourceVersion: String(version),
    labels: { "model.aibrix.ai/name": "m" },
    annotations: { note },
  },
  status: { phase: "Running", podIP: "10.0.0.1" },
});

/** What a body delivers, in these pieces, and the code of what ended it. */
async function watched(
  pieces: readonly Buffer[],
): Promise<{ events: WatchEvent<PodReading>[]; code: string | null }> {
  const events: WatchEvent<PodReading>[] = [];
  try {
    for await (const batch of readWatch(Readable.from(pieces), "server", PODS)) events.push(...batch);
    return { events, code: null };
  } catch (error) {
    if (error instanceof ApiError) return { events, code: error.code };
    throw error;
  }
}

/** Letters that are one unit and several bytes, or that other readers take for the end of a line. */
const anyNote = fc.string({ unit: fc.constantFrom("a", "é", "漢", "🜁", "\u2028", "\n", "\r", '"', "\\") });
const anyEvent = fc
  .record({ type: fc.constantFrom("ADDED", "MODIFIED", "DELETED"), version: fc.nat(1e6), note: anyNote })
  .map(({ type, version, note }) => ({ type, object: pod("p", version, note) }));

test("events are the same however the network cuts them, in the middle of a character too", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyEvent, { maxLength: 6 }), fc.array(fc.nat(2000)), async (events, cuts) => {
      const bytes = Buffer.from(events.map((one) => `${JSON.stringify(one)}\n`).join(""));
      const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort(
        (a, b) => a - b,
      );
      const pieces = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
      const { events: read, code } = await watched(pieces);
      expect(code).toBeNull();
      expect(read.map((one) => [one.kind, "item" in one ? one.item.resourceVersion : ""])).toEqual(
        events.map(({ type, object }) => [
          type === "DELETED" ? "absent" : "present",
          object.metadata.resourceVersion,
        ]),
      );
    }),
  );
});

test("what came before an event that is none is delivered, and what comes after it is not", async () => {
  const good = `${JSON.stringify({ type: "ADDED", object: pod("a", 1, "") })}\n`;
  const { events, code } = await watched([Buffer.from(`${good}garbage\n${good}`)]);
  expect([events.length, code]).toEqual([1, "malformed"]);
});

test.each([
  [{ type: "ERROR", object: { code: 410 } }, "gone"],
  [{ type: "ERROR", object: { code: 403 } }, "forbidden"],
  [{ type: "ERROR", object: {} }, "server_error"],
  [{ type: "ERROR", object: { code: "odd" } }, "server_error"],
])("the error %j in a watch has its reason", async (error, code) => {
  expect((await watched([Buffer.from(`${JSON.stringify(error)}\n`)])).code).toBe(code);
});

test("a body that ends inside of an event has broken off", async () => {
  expect((await watched([Buffer.from('{"type":"ADDED"')])).code).toBe("disconnected");
});

test("an event without an end is bounded", async () => {
  const piece = Buffer.alloc(1024 * 1024, "a");
  expect((await watched(Array.from({ length: 6 }, () => piece))).code).toBe("too_large");
});

test("a page counts the items that are no pods, and is refused as a whole when it is no list", async () => {
  const page = (body: unknown) =>
    readPage(Readable.from([Buffer.from(JSON.stringify(body))]), "server", PODS);
  const metadata = { resourceVersion: "7" };
  expect(await page({ metadata, items: [pod("a", 1, ""), { kind: "Node" }, null] })).toMatchObject({
    items: [{ id: "serving/a" }],
    unreadable: 2,
    resourceVersion: "7",
    more: null,
  });
  expect(await page({ metadata: { ...metadata, continue: "next" }, items: null })).toMatchObject({
    items: [],
    more: "next",
  });
  await expect(page({ items: [] })).rejects.toMatchObject({ code: "malformed" });
  await expect(page("x")).rejects.toMatchObject({ code: "malformed" });
});
