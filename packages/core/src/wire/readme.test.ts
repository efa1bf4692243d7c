/** README.md's tables name what the code has, and nothing else. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decode } from "@msgpack/msgpack";
import { DIALECTS } from "./dialect.ts";
import { fromHex, GOLDEN_VECTORS } from "./vectors/golden-vectors.ts";
import { FRAME_ERROR_CODES, PAYLOAD_ERROR_CODES } from "./wire-error.ts";
import { DEFAULT_WIRE_LIMITS } from "./wire-limits.ts";

const readme = readFileSync(new URL("README.md", import.meta.url), "utf8");
const vectorsReadme = readFileSync(new URL("vectors/README.md", import.meta.url), "utf8");

/** Cells of the table rows in a section, without its head. */
function rows(heading: string): string[][] {
  const section = readme.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
  const lines = section.split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(2).map((line) =>
    line
      .split("|")
      .map((cell) => cell.trim())
      .slice(1, -1),
  );
}

function unquoted(cell: string): string {
  return cell.replaceAll("`", "");
}

describe("the wire's README", () => {
  test("lists every error code in order, and no other", () => {
    const listed = rows("Error codes").map(([code]) => unquoted(code));
    expect(listed).toEqual([...PAYLOAD_ERROR_CODES, ...FRAME_ERROR_CODES]);
  });

  test("lists every limit with its value, and no other", () => {
    const listed = rows("Limits").map(([name, value]) => [unquoted(name), Number(value.replaceAll(",", ""))]);
    expect(Object.fromEntries(listed)).toEqual(DEFAULT_WIRE_LIMITS);
  });

  test("lists every dialect with its shape, and no other", () => {
    const listed = rows("Dialects").map(([name, slots, events, stored]) => ({
      name: unquoted(name),
      slots: Number(slots),
      events,
      storedSlots: events === "array" ? Number.parseInt(stored, 10) : null,
    }));
    const known = Object.entries(DIALECTS).map(([name, form]) => ({
      name,
      slots: form.batchSlots,
      events: form.events,
      storedSlots: form.events === "array" ? form.stored.required.length + 1 : null,
    }));
    expect(listed).toEqual(known);
  });
});

describe("the vectors' README", () => {
  test("lists every vector in order, and no other", () => {
    const listed = vectorsReadme
      .split("\n")
      .flatMap((line) => /^\| ([VSTR]\d.*?) \|/.exec(line)?.[1].split(", ") ?? []);
    expect(listed).toEqual(GOLDEN_VECTORS.map(({ id }) => id));
  });

  test("is right that a general decoder reads them too", () => {
    for (const { hex, batch } of GOLDEN_VECTORS) {
      const [timestamp, events] = decode(fromHex(hex), { useBigInt64: true }) as [number, unknown[]];
      expect(timestamp).toBe(batch.timestampSeconds);
      expect(events.length).toBe(batch.events.length);
    }
  });
});
