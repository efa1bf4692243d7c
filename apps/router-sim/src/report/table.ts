/** The result table: one line per figure, one column per policy; then faults, differences and the verdict. */
import type { Difference } from "../audit/audit.ts";
import type { AuditReport, Distribution, RunReport } from "./run-report.ts";
import { textTable } from "./text-table.ts";

/** Cells have spaces of their own, so columns stand further apart. */
const GAP = 3;

/** One line of the table: what it is called and how a run's value is written. */
type Row = readonly [name: string, value: (run: RunReport) => string];

const ROWS: readonly Row[] = [
  ["requests", (run) => `${whole(run.requests)}${counts(run.requestsRefused, ", refused: ")}`],
  ["prompt tokens", (run) => whole(run.promptTokens)],
  ["block hit rate", (run) => percent(run.blockHitRate)],
  ["token hit rate", (run) => percent(run.tokenHitRate)],
  ["oracle's block hit rate", (run) => percent(run.oracleHitRate)],
  ["share of the oracle", (run) => percent(run.oracleShare)],
  ["first token, modelled, p50 / p99", (run) => spread(run.firstTokenSeconds, "s", 2)],
  ["lookup p50 / p99 / max", (run) => `${spread(run.lookupMs, "ms", 2)}${longest(run.lookupMs)}`],
  ["due to decided p50 / p99 / max", (run) => `${spread(run.decisionMs, "ms", 2)}${longest(run.decisionMs)}`],
  ["lookups by decision", (run) => counts(run.decisions) || "none"],
  ["routed without advice", (run) => counts(run.routedWithoutAdvice) || "0"],
  ["messages / events", (run) => `${whole(run.messages)} / ${whole(run.events)}`],
  ["blocks stored / removed", (run) => `${whole(run.storedBlocks)} / ${whole(run.removedBlocks)}`],
  ["messages lost on purpose", (run) => whole(run.messagesDropped)],
  ["gaps / messages missed", (run) => `${whole(run.gaps)} / ${whole(run.missedMessages)}`],
  [
    "replays asked / done / failed",
    ({ replays }) => `${whole(replays.requested)} / ${whole(replays.completed)} / ${whole(replays.failed)}`,
  ],
  ["messages replayed", (run) => whole(run.messagesReplayed)],
  ["engines restarted / noticed", (run) => `${whole(run.engineRestarts)} / ${whole(run.restartsSeen)}`],
  ["requests routed again", (run) => whole(run.requestsRerouted)],
  ["stream faults", (run) => counts(run.streamFaults) || "0"],
  ["stream drops", (run) => counts(run.streamDrops) || "0"],
  ["streams by trust", (run) => counts(run.trust)],
  ["time: real / modeled / slip", (run) => times(run)],
  [
    "audit: held / dumped",
    ({ audit }) => `${whole(audit.heldCount)} / ${whole(audit.dumpedCount)} (${coverage(audit)})`,
  ],
  ["audit: missing, before history", ({ audit }) => whole(audit.excusedCount)],
  ["audit: differences", ({ audit }) => whole(audit.differenceCount)],
];

/** What a short story needs of them. */
const BRIEF_ROWS: ReadonlySet<string> = new Set([
  "requests",
  "block hit rate",
  "oracle's block hit rate",
  "share of the oracle",
  "first token, modelled, p50 / p99",
  "lookup p50 / p99 / max",
  "messages / events",
  "streams by trust",
  "audit: held / dumped",
  "audit: differences",
]);

/**
 * Writes the table.
 *
 * @param runs - one column each; at least one.
 * @param detail - every figure, or those of a short story.
 * @returns lines without a final newline.
 */
export function resultTable(runs: readonly RunReport[], detail: "all" | "brief"): string {
  const rows = detail === "all" ? ROWS : ROWS.filter(([name]) => BRIEF_ROWS.has(name));
  const titles = ["", ...runs.map(({ policy }) => policy)];
  const cells = rows.map(([name, value]) => [name, ...runs.map(value)]);
  return textTable([titles, ...cells], "left", GAP).join("\n");
}

/**
 * Writes what the table has no room for: faults, differences, failures.
 *
 * @param run - of one policy.
 * @returns lines without a final newline; "" when there is nothing to add.
 */
export function runDetails(run: RunReport): string {
  const lines = run.faults.map(
    ({ description, struckAtPercent, recoverySeconds, audit }) =>
      `fault at ${struckAtPercent.toFixed(0)} %: ${description}; recovered in ${recoverySeconds.toFixed(2)} s; ` +
      `then ${auditLine(audit)}`,
  );
  lines.push(`final ${auditLine(run.audit)}`);
  for (const { differences } of [...run.faults.map(({ audit }) => audit), run.audit]) {
    lines.push(...differences.map((difference) => `  ${differenceLine(difference)}`));
  }
  for (const [reason, detail] of Object.entries(run.lastLookupFailures)) {
    lines.push(`last lookup without advice, ${reason}: ${detail}`);
  }
  lines.push(...run.failures.map((failure) => `FAILED: ${failure}`));
  return lines.join("\n");
}

/**
 * Writes an audit in one line.
 *
 * @param audit - what it found.
 * @returns the line.
 */
function auditLine(audit: AuditReport): string {
  const excused =
    audit.excusedCount === 0 ? "" : `, ${whole(audit.excusedCount)} announced before a stream's history`;
  return (
    `audit (settled in ${audit.settleSeconds.toFixed(2)} s): ${whole(audit.heldCount)} held by engines, ` +
    `${whole(audit.dumpedCount)} in the daemon${excused}, ${whole(audit.differenceCount)} differences`
  );
}

function differenceLine(difference: Difference): string {
  const { kind, worker, dpRank, adapter, tier, prefixHash, announcedIn } = difference;
  if (prefixHash === "") return `${kind}: ${worker} rank ${dpRank}`;
  const where = `${worker} rank ${dpRank}, ${tier}${adapter === "" ? "" : `, adapter ${adapter}`}`;
  const announced = announcedIn === null ? "never announced" : `announced in message ${announcedIn}`;
  const copies = `copies: engine ${difference.enginesCopies}, daemon ${difference.daemonsCopies}`;
  return `${kind}: ${where}, prefix ${prefixHash}, ${announced}, ${copies}`;
}

/** Share of what engines hold that the daemon knows of. */
function coverage({ heldCount, excusedCount, differenceCount, dumpedCount }: AuditReport): string {
  if (excusedCount === 0 && differenceCount === 0) return "all";
  return percent(heldCount === 0 ? 0 : dumpedCount / heldCount);
}

function whole(value: number): string {
  return value.toLocaleString("en-US");
}

function percent(value: number): string {
  return `${(100 * value).toFixed(2)} %`;
}

function spread(distribution: Distribution | null, unit: string, digits: number): string {
  if (distribution === null) return "none";
  return `${distribution.p50.toFixed(digits)} / ${distribution.p99.toFixed(digits)} ${unit}`;
}

function longest(distribution: Distribution | null): string {
  return distribution === null ? "" : ` / ${distribution.max.toFixed(1)} ms`;
}

function counts(values: Readonly<Record<string, number>>, before = ""): string {
  const text = Object.entries(values)
    .map(([name, count]) => `${name} ${whole(count)}`)
    .join(", ");
  return text === "" ? "" : before + text;
}

function times({ wallSeconds, modelledSeconds, slipSeconds }: RunReport): string {
  return `${wallSeconds.toFixed(1)} / ${modelledSeconds.toFixed(0)} / ${slipSeconds.toFixed(1)} s`;
}
