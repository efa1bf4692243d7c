/** The page of error codes explains every reason that the web page shows. */
import { FRAME_ERROR_CODES, PAYLOAD_ERROR_CODES } from "@kvsync/core";
import { expect, test } from "vitest";

import { NOT_APPLIED_REASONS } from "../board/stream-board.ts";
import { errorReference } from "./error-reference.ts";

test("each reason for which something is not applied, and each code of broken bytes, has one row", () => {
  const rows = errorReference().match(/^\| `\w+` \|/gm) ?? [];
  const named = [...NOT_APPLIED_REASONS, ...FRAME_ERROR_CODES, ...PAYLOAD_ERROR_CODES];
  const times = (code: string): number => rows.filter((row) => row === `| \`${code}\` |`).length;
  expect(named.filter((code) => times(code) !== 1)).toEqual([]);
});
