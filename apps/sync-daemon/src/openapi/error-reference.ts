/** The reference of error codes: a projection of the table of problems, the routes, and what core finds wrong with an engine's messages. */

import { FRAME_ERROR_CODES, PAYLOAD_ERROR_CODES, TRUST_RULE } from "@kvsync/core";
import { INGEST_METRICS } from "@kvsync/observability/kvsync/ingest";
import type { ProblemCode } from "@kvsync/observability/kvsync/problem-codes";

import { QUEUE_DROP_TEXTS } from "../board/drop-reasons.ts";
import { TOKENIZER_FAILURES } from "../tokenizer/tokenize-outcome.ts";
import { OPERATIONS } from "./operations.ts";
import { PROBLEMS } from "./problem-status.ts";
import { routesWith } from "./route-problems.ts";

/**
 * The reference of error codes.
 *
 * @returns Markdown.
 */
export function errorReference(): string {
  const row = (...cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
  return [
    "<!-- Generated from the code by apps/sync-daemon/src/openapi/main.ts; a test fails when it is out of date. -->",
    "# Error codes",
    "",
    "Codes are stable: programs may rely on them. The texts are for people.",
    "",
    "## Problems of the HTTP API",
    "A body of `application/problem+json` (RFC 9457) with `code`, and the facts of the case.",
    "",
    row("code", "status", "title", "routes"),
    row("---", "---", "---", "---"),
    ...(Object.entries(PROBLEMS) as [ProblemCode, { status: number; title: string }][]).map(
      ([code, { status, title }]) => row(`\`${code}\``, status, title, routesWith(code, OPERATIONS)),
    ),
    "",
    "## Why a prompt could not be looked up",
    'Not errors: the lookup is answered with 200, `"decision": "fallback"` and one of these as `reason`.',
    "",
    row("reason", "meaning"),
    row("---", "---"),
    ...Object.entries(TOKENIZER_FAILURES).map(([reason, meaning]) => row(`\`${reason}\``, meaning)),
    "",
    "## Why an event or a message was not applied",
    `Reasons in \`${INGEST_METRICS.eventsDropped.name}\` and in the log. [Trust](trust.md) has the effect of each.`,
    "",
    row("reason", "meaning"),
    row("---", "---"),
    ...TRUST_RULE.filter(({ id }) => /^(?:event|message)\./.test(id)).map(({ id, says }) =>
      row(`\`${id.replace(/^\w+\./, "")}\``, says),
    ),
    ...Object.entries(QUEUE_DROP_TEXTS).map(([reason, says]) => row(`\`${reason}\``, says)),
    "",
    "## What can be wrong with an engine's message",
    `Reasons in \`${INGEST_METRICS.eventsDropped.name}\` and in the log, with the offset where it was found.`,
    "",
    row("code", "costs"),
    row("---", "---"),
    ...FRAME_ERROR_CODES.map((code) => row(`\`${code}\``, "the message")),
    ...PAYLOAD_ERROR_CODES.map((code) => row(`\`${code}\``, "the message or one event of it")),
    "",
  ].join("\n");
}
