/** The page of the rule behind `exact`, rendered from core's table (packages/core/src/sync/trust-rule.ts). */

import {
  FAULT_COSTS,
  HARMLESS_FIELDS,
  HEALED_BY,
  TRUST_REASON_NAMES,
  TRUST_REASONS,
  TRUST_RULE,
  type TrustReasonRow,
  type TrustRow,
} from "@kvsync/core";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";

/** Families of causes, by the first part of a row's id, in the order of the page. */
const FAMILIES: Readonly<Record<string, string>> = {
  event: "Events that are dropped",
  message: "Messages that are dropped",
  fault: "Bytes that break the protocol",
  field: "Unknown fields",
  eviction: "Limits of the index",
  stream: "The stream",
  owner: "The daemon",
};

/**
 * Renders the page.
 *
 * @returns Markdown.
 */
export function trustReference(): string {
  return [
    "<!-- Generated from the code by apps/sync-daemon/src/openapi/main.ts; a test fails when it is out of date. -->",
    "# Trust and its reasons",
    "",
    "`exact` means: for any prompt, the answer is the part that the engine itself would reuse.",
    "An event that might make this false lowers the trust of its rank, with a reason. When several reasons apply, the worst",
    "trust wins, then the oldest reason. `trust_since` is the time at which the present trust and reason began.",
    "",
    "## Reasons",
    ...table(["`trust_reason`", "trust", "meaning", "ends with"], TRUST_REASON_NAMES.map(reasonRow)),
    ...Object.entries(FAMILIES).flatMap(([family, title]) => [
      `## ${title}`,
      ...table(
        ["what happens", "trust", "`trust_reason`", "counted in", "why"],
        TRUST_RULE.filter(({ id }) => id.startsWith(`${family}.`)).map(causeRow),
      ),
    ]),
    "## Codes of broken bytes",
    "The effect of each code. The places are those of the table above.",
    ...table(
      ["code", "places"],
      Object.entries(FAULT_COSTS).map(([code, places]) => [`\`${code}\``, places.join(", ")]),
    ),
    "## Fields that are read and not interpreted",
    ...table(
      ["field", "why it is harmless"],
      Object.entries(HARMLESS_FIELDS).map(([field, why]) => [`\`${field}\``, why]),
    ),
  ].join("\n");
}

function reasonRow(reason: keyof typeof TRUST_REASONS): string[] {
  const { trust, kind, says, heals }: TrustReasonRow = TRUST_REASONS[reason];
  return [`\`${reason}\``, `\`${trust}\``, says, heals ?? HEALED_BY[kind]];
}

function causeRow({ id, reason, counter, says }: TrustRow): string[] {
  const cause = id.slice(id.indexOf(".") + 1);
  const trust = reason === null ? "unchanged" : `\`${TRUST_REASONS[reason].trust}\``;
  return [
    `\`${cause}\``,
    trust,
    reason === null ? "–" : `\`${reason}\``,
    `\`${exportedName(counter)}\``,
    says,
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line), ""];
}

/** A metric with its namespace; a counter of the stream, which is a path in core, as it is. */
function exportedName(counter: string): string {
  const name = `${NAMESPACE}_${counter}`;
  return CATALOGUE.some((family) => family.name === name) ? name : counter;
}
