/**
 * The reader, on small files for its errors and on the published conversation trace for its facts.
 * That file is not part of the project; in CI it is next to it (see the data folder's README).
 * Without it the facts are skipped by name, and in CI that is a failure.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { loadMooncakeTrace, parseMooncakeLine, readMooncakeTrace } from "./mooncake.ts";
import { TRACE_BLOCK_TOKENS, TraceError, type TraceFacts, type TraceRequest } from "./request.ts";
import { traceStats } from "./trace-stats.ts";

const CONVERSATION = join(
  import.meta.dirname,
  "../../../../../shared/data/traces/mooncake-conversation.jsonl",
);
const IN_CI = !["", "false", undefined].includes(process.env["CI"]);

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "router-sim-trace-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function fileWith(text: string): Promise<string> {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.jsonl`);
  await writeFile(path, text);
  return path;
}

function row(request: TraceRequest): string {
  return JSON.stringify({
    timestamp: request.arrivalMs,
    input_length: request.inputTokens,
    output_length: request.outputTokens,
    hash_ids: request.hashIds,
  });
}

function errorOf(action: () => unknown): TraceError {
  try {
    action();
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  throw new Error("expected a TraceError, nothing was thrown");
}

const requestArbitrary: fc.Arbitrary<TraceRequest> = fc
  .record({
    arrivalMs: fc.nat(600_000_000),
    inputTokens: fc.integer({ min: 1, max: 200_000 }),
    outputTokens: fc.integer({ min: 1, max: 5_000 }),
  })
  .map((lengths) => ({
    ...lengths,
    hashIds: Array.from({ length: Math.ceil(lengths.inputTokens / TRACE_BLOCK_TOKENS) }, (_, i) => i * 7),
  }));

describe("reading a trace", () => {
  it("gives back every request that was written, whatever the line ends", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(requestArbitrary, { minLength: 1, maxLength: 20 }),
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        async (unordered, end, closed) => {
          const requests = unordered.toSorted((a, b) => a.arrivalMs - b.arrivalMs);
          const path = await fileWith(requests.map(row).join(end) + (closed ? end : ""));
          expect(await loadMooncakeTrace(path)).toEqual(requests);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("stops at the number of requests asked for, before a flaw that comes later", async () => {
    const good = row({ arrivalMs: 0, inputTokens: 5, outputTokens: 1, hashIds: [3] });
    const path = await fileWith(`${good}\n${good}\nnonsense\n`);
    expect(await loadMooncakeTrace(path, 2)).toHaveLength(2);
    await expect(loadMooncakeTrace(path)).rejects.toMatchObject({
      facts: { code: "line_not_json", line: 3 },
    });
  });

  it("names a file that is absent, and one that is empty", async () => {
    const absent = join(folder, "absent.jsonl");
    await expect(loadMooncakeTrace(absent)).rejects.toMatchObject({
      facts: { code: "trace_unreadable", path: absent },
      message: expect.stringContaining("ENOENT") as string,
    });
    await expect(loadMooncakeTrace(await fileWith(""))).rejects.toMatchObject({ code: "trace_empty" });
  });

  it("refuses a line without an end before it fills the memory", async () => {
    const path = await fileWith(
      `${row({ arrivalMs: 0, inputTokens: 1, outputTokens: 1, hashIds: [0] })}\n${"x".repeat(300_000)}`,
    );
    await expect(loadMooncakeTrace(path)).rejects.toMatchObject({
      facts: { code: "line_too_long", line: 2 },
    });
  });

  it("names the file, and shows no control character of what it quotes", async () => {
    const path = await fileWith("\u001b[2J\n");
    await expect(loadMooncakeTrace(path)).rejects.toMatchObject({
      facts: { code: "line_not_json", line: 1 },
      message: `${path}: line 1: not JSON: \ufffd[2J`,
    });
  });

  it("says that a compressed file has to be unpacked", async () => {
    const path = join(folder, "compressed.jsonl");
    await writeFile(path, gzipSync("{}\n"));
    await expect(loadMooncakeTrace(path)).rejects.toMatchObject({
      facts: { code: "trace_unreadable", path },
      message: expect.stringContaining("gunzip it first") as string,
    });
  });

  it("skips a byte order mark", async () => {
    const request = { arrivalMs: 0, inputTokens: 5, outputTokens: 1, hashIds: [3] };
    expect(await loadMooncakeTrace(await fileWith(`\ufeff${row(request)}\r\n`))).toEqual([request]);
  });

  it("refuses arrivals that go back, naming both", async () => {
    const lines = [7, 6].map((arrivalMs) =>
      row({ arrivalMs, inputTokens: 1, outputTokens: 1, hashIds: [0] }),
    );
    await expect(loadMooncakeTrace(await fileWith(lines.join("\n")))).rejects.toMatchObject({
      facts: { code: "field_wrong", line: 2, field: "timestamp", actual: "6" },
      message: expect.stringContaining("at least 7") as string,
    });
  });
});

describe("reading a line", () => {
  const good = { timestamp: 1, input_length: 600, output_length: 2, hash_ids: [0, 1] };
  const flawed = (changes: Record<string, unknown>): TraceFacts =>
    errorOf(() => parseMooncakeLine(JSON.stringify({ ...good, ...changes }), 4, 0)).facts;

  it("says which field is wrong, what it was and what was expected", () => {
    const cases: readonly [Record<string, unknown>, string, string][] = [
      [{ timestamp: -1 }, "timestamp", "-1"],
      [{ timestamp: "0" }, "timestamp", '"0"'],
      [{ input_length: 0 }, "input_length", "0"],
      [{ input_length: 1.5 }, "input_length", "1.5"],
      [{ input_length: 2_000_000 }, "input_length", "2000000"],
      [{ output_length: null }, "output_length", "null"],
      [{ hash_ids: {} }, "hash_ids", "{}"],
      [{ hash_ids: [0] }, "hash_ids", "1 ids"],
      [{ hash_ids: [0, 4_294_967_296] }, "hash_ids[1]", "4294967296"],
      [{ hash_ids: [-1, 0] }, "hash_ids[0]", "-1"],
    ];
    for (const [changes, field, actual] of cases) {
      const facts = flawed(changes);
      expect(facts).toMatchObject({ code: "field_wrong", line: 4, field, actual });
    }
  });

  it("refuses a missing field and an unknown one by name", () => {
    expect(flawed({ output_length: undefined })).toEqual({
      code: "field_missing",
      line: 4,
      field: "output_length",
    });
    expect(flawed({ session: 3 })).toEqual({ code: "field_unknown", line: 4, field: "session" });
  });

  it("refuses what is not an object", () => {
    for (const text of ["", "3", "null", "[]", "{"]) {
      expect(errorOf(() => parseMooncakeLine(text, 9, 0)).facts).toEqual({ code: "line_not_json", line: 9 });
    }
  });
});

describe.skipIf(!existsSync(CONVERSATION) && !IN_CI)(
  "the published conversation trace (needs mooncake-conversation.jsonl in ../shared/data/traces)",
  () => {
    it("has the published lengths, block references and cache hits", async () => {
      const stats = await traceStats(readMooncakeTrace(CONVERSATION));
      expect(stats.requestCount).toBe(12_031);
      expect(Math.round(stats.inputTokens.mean)).toBe(12_035);
      expect(Math.round(stats.outputTokens.mean)).toBe(343);
      expect(stats.blockReferences).toBe(288_500);
      expect(stats.distinctBlocks).toBe(182_790);
      expect((100 * stats.unboundedHitShare).toFixed(2)).toBe("36.64");
      const shares = stats.lruHitShares.map(({ hitShare }) => Math.trunc(1_000 * hitShare + 0.5) / 10);
      expect(stats.lruHitShares.map(({ capacityBlocks }) => capacityBlocks)).toEqual([1e3, 1e4, 3e4, 5e4]);
      expect(shares).toEqual([4.4, 21.1, 32.6, 35.5]);
    });

    it("has prefixes whose classes add up, and a ceiling that 85,268 blocks come within 1 % of", async () => {
      const { prefixClasses, capacityForShareOfCeiling, prefixTokens, ...stats } = await traceStats(
        readMooncakeTrace(CONVERSATION),
      );
      expect(prefixClasses.reduce((sum, { requestShare }) => sum + requestShare, 0)).toBeCloseTo(1, 12);
      expect(capacityForShareOfCeiling.at(-1)).toEqual({ share: 0.99, capacityBlocks: 85_268 });
      expect(prefixTokens.mean / stats.inputTokens.mean).toBe(stats.unboundedTokenShare);
      expect(prefixTokens.max).toBeLessThanOrEqual(stats.inputTokens.max);
    });
  },
);
