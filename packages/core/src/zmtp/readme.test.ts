/** README.md's tables name what the code has, and nothing else. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

import { ZMTP_ERROR_CODES } from "./zmtp-error.ts";
import {
  COMMAND_BYTES_MAX,
  DEFAULT_ZMTP_LIMITS,
  PING_AFTER_TICKS,
  PING_CONTEXT_BYTES_MAX,
  SILENT_AFTER_TICKS,
} from "./zmtp-limits.ts";

const readme = readFileSync(new URL("README.md", import.meta.url), "utf8");

/** First and second cells of a section's table, without its head. */
function rows(heading: string): (readonly [string, string])[] {
  const section = readme.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
  const lines = section.split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(2).map((line) => {
    const [, first = "", second = ""] = line.split("|").map((cell) => cell.trim().replaceAll("`", ""));
    return [first, second];
  });
}

test("every error code is listed in order, and no other", () => {
  expect(rows("Error codes").map(([code]) => code)).toEqual(ZMTP_ERROR_CODES);
});

test("every limit is listed with its value, and no other", () => {
  const listed = rows("Memory").map(([name, value]) => [name, Number(value.replaceAll(",", ""))]);
  expect(Object.fromEntries(listed)).toEqual({
    ...DEFAULT_ZMTP_LIMITS,
    COMMAND_BYTES_MAX,
    PING_CONTEXT_BYTES_MAX,
  });
});

test("the waits of heartbeats are the code's", () => {
  expect(readme).toContain(`asked after ${PING_AFTER_TICKS} s and dead after ${SILENT_AFTER_TICKS} s`);
});
