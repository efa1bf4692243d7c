/**
 * A run in figures for `--json` and the table, computed once.
 *
 *  Block hit rate   blocks whose prefill the chosen engines skipped ÷ full blocks of all prompts.
 *                   The engines count both.
 *  Token hit rate   the same in tokens ÷ prompt tokens.
 *  Oracle hit rate  the longest leading run of each request's blocks that any engine held at its
 *                   arrival ÷ full blocks. It is capped as engines cap hits: the block of the last
 *                   token is always computed.
 *                   It is perfect knowledge of the contents as *this* policy made them, regardless of load. A hit is
 *                   counted later, when the engine takes the request up, so a share above 100 % is possible.
 */
import type { AuditResult } from "../audit/audit.ts";
import type { Checkpoint } from "../replay/checkpoint.ts";
import type { RunResult } from "../replay/run.ts";
import type { Samples } from "./percentiles.ts";

/** p50, p99 and the longest, in the unit that the field's name ends with. */
export interface Distribution {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** An audit with what preceded it. */
export interface AuditReport extends AuditResult {
  readonly settleSeconds: number;
  readonly unsettled: string | null;
}

/** A fault, its recovery, and the audit after it. */
interface FaultReport {
  readonly description: string;
  readonly struckAtPercent: number;
  readonly recoverySeconds: number;
  readonly unrecovered: string | null;
  readonly notMade: string | null;
  readonly audit: AuditReport;
}

/** See the header. */
export interface RunReport {
  readonly policy: string;
  readonly requests: number;
  readonly requestsRefused: Readonly<Record<string, number>>;
  readonly requestsRerouted: number;
  readonly promptTokens: number;
  readonly blockHitRate: number;
  readonly tokenHitRate: number;
  readonly oracleHitRate: number;
  /** Block hit rate ÷ oracle hit rate. */
  readonly oracleShare: number;
  readonly firstTokenSeconds: Distribution | null;
  readonly lookups: number;
  readonly lookupMs: Distribution | null;
  /** From the scheduled arrival to the decision. */
  readonly decisionMs: Distribution | null;
  readonly decisions: Readonly<Record<string, number>>;
  readonly routedWithoutAdvice: Readonly<Record<string, number>>;
  /** What the last failed lookup of each kind said. */
  readonly lastLookupFailures: Readonly<Record<string, string>>;
  readonly messages: number;
  readonly events: number;
  readonly storedBlocks: number;
  readonly removedBlocks: number;
  readonly messagesDropped: number;
  readonly preemptions: number;
  readonly engineRestarts: number;
  readonly gaps: number;
  readonly missedMessages: number;
  readonly replays: { readonly requested: number; readonly completed: number; readonly failed: number };
  /** Messages that engines sent in answer to replay requests. */
  readonly messagesReplayed: number;
  readonly restartsSeen: number;
  readonly streamFaults: Readonly<Record<string, number>>;
  readonly streamDrops: Readonly<Record<string, number>>;
  readonly trust: Readonly<Record<string, number>>;
  readonly wallSeconds: number;
  readonly modelledSeconds: number;
  readonly slipSeconds: number;
  readonly fleetBusySeconds: number;
  readonly engineSteps: number;
  readonly faults: readonly FaultReport[];
  readonly audit: AuditReport;
  readonly daemonExitCode: number | null;
  /** What was expected and did not come; none when the run is good. */
  readonly failures: readonly string[];
}

/**
 * Computes the figures.
 *
 * @param result - of a run.
 * @param blockSize - tokens per KV block.
 * @returns the report, all of it plain data.
 */
export function reportOf(result: RunResult, blockSize: number): RunReport {
  const { router, fleet, streams } = result;
  const { counts } = router;
  const faults = result.faults.map((fault) => ({
    description: fault.description,
    struckAtPercent: 100 * fault.struckAt,
    recoverySeconds: fault.recoverySeconds,
    unrecovered: fault.unrecovered,
    notMade: fault.notMade,
    audit: auditReport(fault.checkpoint),
  }));
  const audit = auditReport(result.final);
  const blockHitRate = share(counts.cachedBlocks, counts.promptBlocks);
  const oracleHitRate = share(counts.oracleBlocks, counts.promptBlocks);
  return {
    policy: result.policy,
    requests: counts.completions,
    requestsRefused: Object.fromEntries(router.refusalsByCode),
    requestsRerouted: counts.rerouted,
    promptTokens: counts.promptTokens,
    blockHitRate,
    tokenHitRate: share(counts.cachedBlocks * blockSize, counts.promptTokens),
    oracleHitRate,
    oracleShare: share(blockHitRate, oracleHitRate),
    firstTokenSeconds: distribution(router.firstTokenSeconds),
    lookups: router.lookupMs.count,
    lookupMs: distribution(router.lookupMs),
    decisionMs: distribution(router.decisionMs),
    decisions: nonZero(counts.decisions),
    routedWithoutAdvice: nonZero(counts.withoutAdvice),
    lastLookupFailures: Object.fromEntries(router.lastFailures),
    messages: fleet.messages,
    events: fleet.events,
    storedBlocks: fleet.storedBlocks,
    removedBlocks: fleet.removedBlocks,
    messagesDropped: fleet.messagesDropped,
    preemptions: fleet.preemptions,
    engineRestarts: fleet.engineRestarts,
    gaps: streams.gaps,
    missedMessages: streams.missedMessages,
    replays: {
      requested: streams.replaysRequested,
      completed: streams.replaysCompleted,
      failed: streams.replaysFailed,
    },
    messagesReplayed: fleet.replayedMessages,
    restartsSeen: streams.restarts,
    streamFaults: streams.faults,
    streamDrops: streams.dropped,
    trust: streams.trust,
    wallSeconds: result.wallSeconds,
    modelledSeconds: fleet.modelledSeconds,
    slipSeconds: fleet.slipSeconds,
    fleetBusySeconds: fleet.busySeconds,
    engineSteps: fleet.steps,
    faults,
    audit,
    daemonExitCode: result.daemonExitCode,
    failures: failuresOf(faults, audit, result.daemonExitCode),
  };
}

function failuresOf(
  faults: readonly FaultReport[],
  finalAudit: AuditReport,
  daemonExitCode: number | null,
): string[] {
  const failures: string[] = [];
  for (const { description, notMade, unrecovered, audit } of faults) {
    if (notMade !== null) failures.push(`${description}: could not be made: ${notMade}`);
    if (unrecovered !== null) failures.push(`${description}: not recovered: ${unrecovered}`);
    failures.push(...auditFailures(`after "${description}"`, audit));
  }
  failures.push(...auditFailures("at the end", finalAudit));
  if (daemonExitCode !== 0) {
    const how = daemonExitCode === null ? "had to be killed" : `ended with exit code ${daemonExitCode}`;
    failures.push(`the daemon ${how} when it was asked to stop`);
  }
  return failures;
}

function auditFailures(when: string, audit: AuditReport): string[] {
  const failures: string[] = [];
  if (audit.unsettled !== null) failures.push(`${when}: not everything was applied: ${audit.unsettled}`);
  if (audit.differenceCount > 0)
    failures.push(`${when}: the audit found ${audit.differenceCount} differences`);
  return failures;
}

function auditReport(checkpoint: Checkpoint): AuditReport {
  return { ...checkpoint.audit, settleSeconds: checkpoint.settleSeconds, unsettled: checkpoint.unsettled };
}

function distribution(samples: Samples): Distribution | null {
  const found = samples.percentiles([0.5, 0.99, 1]);
  if (found === null) return null;
  const [p50 = 0, p99 = 0, max = 0] = found;
  return { p50, p99, max };
}

function nonZero(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
