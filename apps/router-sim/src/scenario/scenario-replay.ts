/**
 * Plays a scenario with everything real: engines that speak ZeroMQ, the daemon as a process, a lookup over HTTP for every request.
 *
 *     timeline ─▶ due ─┬─ fault ───────▶ an engine's publisher, or the daemon's process
 *                      └─ expectation ─▶ wait for the streams ─▶ fleet halted ─▶ audit ─▶ fleet continues
 *
 * `at` and the seconds of a fault are workload time, which the speed-up shortens and an audit stops.
 * `within` is real time, because the daemon has no speed-up.
 *
 * Two processes have no common moment. An audit therefore waits until the published messages are
 * applied, for at most SETTLE_SECONDS_MAX. `replay/run.ts` audits the end of each run and stops the
 * daemon; failures of both are failed checks here.
 *
 * It does not delay or reorder messages (that is the network's), or corrupt the daemon's index.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { COST_MODELS, type Fault } from "@kvsync/engine-sim";

import type { Difference } from "../audit/audit.ts";
import { type EngineStatus, LOOKUP_TIMEOUT_MS } from "../daemon/daemon-client.ts";
import type { StreamPosition } from "../fleet/messages.ts";
import { type Checkpoint, waitUntilCaughtUp } from "../replay/checkpoint.ts";
import type { FaultSubjects } from "../replay/faults.ts";
import { wholeTextRequests } from "../replay/replay.ts";
import { type RunResult, runPolicy, type Trouble } from "../replay/run.ts";
import { describeLaggards, type Laggard, laggards } from "../replay/stream-watch.ts";
import { reportOf, type RunReport } from "../report/run-report.ts";
import type { Workload } from "../workload/workload.ts";
import { LossEnds } from "./loss-ends.ts";
import { DIFFERENCES_SHOWN, endChecks, type ScenarioCheck, whole } from "./scenario-check.ts";
import {
  type EndExpectation,
  enginesMeant,
  type Scenario,
  ScenarioError,
  type TimelineEntry,
} from "./scenario.ts";

/** The model that the engines serve. */
const MODEL = "scenario/model";
/** How often the workload's time is looked at. */
const POLL_MS = 5;
/** Most real seconds in which what was published must have been applied once the fleet stands still. */
const SETTLE_SECONDS_MAX = 30;

/** How a scenario is played for real. */
export interface ScenarioReplayOptions {
  /** The daemon's main.js. */
  readonly daemonPath: string;
  /** Where its log goes; null for nowhere. */
  readonly daemonLogPath: string | null;
  /** Workload seconds per real second. */
  readonly speedup: number;
  /** Takes lines about what happens. */
  readonly announce: (line: string) => void;
  /** Told how many requests have ended. */
  readonly progress: (ended: number) => void;
}

/** What came of it. */
export interface ScenarioReplayReport {
  readonly checks: readonly ScenarioCheck[];
  readonly passed: boolean;
  readonly run: RunReport;
}

/**
 * Plays.
 *
 * @param scenario - checked.
 * @param workload - its workload, opened.
 * @param path - of the scenario, for messages.
 * @param options - see ScenarioReplayOptions.
 * @param signal - ends it early; it then throws the signal's reason.
 * @returns what was expected and came.
 * @throws ScenarioError `scenario_simulated_only`; TraceError for a workload that has no whole texts; FleetError, DaemonError,
 *   EngineError when a part cannot be run at all.
 */
export async function replayScenario(
  scenario: Scenario,
  workload: Workload,
  path: string,
  options: ScenarioReplayOptions,
  signal: AbortSignal,
): Promise<ScenarioReplayReport> {
  refuseCorruption(scenario, path);
  const checks: ScenarioCheck[] = [];
  const run = await playOnce(scenario, workload, options, signal, (subjects) =>
    new Conductor(scenario, subjects, options, signal, checks).toEnd(),
  );
  const calm =
    scenario.end.hit_rate_loss === undefined
      ? null
      : await playOnce(scenario, workload, options, signal, () => Promise.resolve([]));
  const figures: Readonly<Record<EndExpectation, number>> = {
    hit_rate: run.blockHitRate,
    hit_rate_loss: (calm?.blockHitRate ?? Number.NaN) - run.blockHitRate,
    first_token_p99: run.firstTokenSeconds?.p99 ?? 0,
    gaps: run.gaps,
    replays: run.replays.requested,
    messages_lost: run.messagesDropped,
    restarts_noticed: run.restartsSeen,
  };
  checks.push(...endChecks(scenario.end, (name) => figures[name]));
  for (const failure of [...run.failures, ...(calm?.failures ?? [])])
    checks.push({ what: "end: in good order", passed: false, detail: failure });
  return { checks, passed: checks.every(({ passed }) => passed), run };
}

function refuseCorruption({ timeline }: Scenario, path: string): void {
  const position = timeline.findIndex(({ corrupt }) => corrupt !== undefined);
  if (position < 0) return;
  const where = `the entry at ${timeline[position]?.at ?? 0} s`;
  throw new ScenarioError(
    { code: "scenario_simulated_only", path, where },
    `${path}: ${where}: corrupt needs an index that is simulated; expected no --real, or replay --plant-difference to see a real audit fail`,
  );
}

async function playOnce(
  scenario: Scenario,
  workload: Workload,
  options: ScenarioReplayOptions,
  signal: AbortSignal,
  trouble: Trouble,
): Promise<RunReport> {
  const { block_size: blockSize, model: costModel, seed } = scenario;
  const result: RunResult = await runPolicy(
    {
      policy: scenario.policy,
      fleet: {
        engineCount: scenario.engines,
        model: MODEL,
        blockSize,
        blockCount: scenario.blocks ?? Math.floor(COST_MODELS[costModel].kvTokens / blockSize),
        hostBlockCount: scenario.host_blocks,
        dialect: null,
        costModel,
        slowness: 1,
        bufferSteps: Math.max(1, scenario.history_messages),
        speedup: options.speedup,
        seed,
        dropPercent: 0,
        requests: wholeTextRequests(workload),
        tellsHeldBlocks: scenario.policy === "oracle",
      },
      daemonPath: options.daemonPath,
      daemonLogPath: options.daemonLogPath,
      trouble,
      settledWhen: "live",
      settleSecondsMax: SETTLE_SECONDS_MAX,
      recoverySecondsMax: SETTLE_SECONDS_MAX,
      lookupTimeoutMs: LOOKUP_TIMEOUT_MS,
      plantedDifference: null,
    },
    { announce: options.announce, progress: options.progress },
    signal,
  );
  return reportOf(result, blockSize);
}

/**
 * What an entry does to engines' publishers.
 *
 * @returns null for what happens elsewhere, or nowhere.
 */
function publisherFault(
  { restart, lose, hold, truncate_history, burn_number, poison }: TimelineEntry,
  speedup: number,
): { readonly engines: "all" | readonly number[]; readonly fault: Fault } | null {
  if (restart !== undefined) return { engines: restart, fault: { kind: "restart" } };
  if (lose !== undefined)
    return { engines: lose.engines, fault: { kind: "drop", percent: 100 * lose.share } };
  if (hold !== undefined)
    return { engines: hold.engines, fault: { kind: "hold", seconds: hold.seconds / speedup } };
  if (truncate_history !== undefined) {
    const { engines, keep } = truncate_history;
    return { engines, fault: { kind: "truncate_history", keep } };
  }
  if (burn_number !== undefined) return { engines: burn_number, fault: { kind: "burn_sequence_number" } };
  if (poison === undefined) return null;
  return { engines: poison.engines, fault: { kind: "poison", form: "malformed_batch", count: poison.count } };
}

/** Follows the timeline of one run. */
class Conductor {
  readonly #scenario: Scenario;
  readonly #subjects: FaultSubjects;
  readonly #options: ScenarioReplayOptions;
  readonly #signal: AbortSignal;
  readonly #checks: ScenarioCheck[];
  readonly #lossEnds = new LossEnds();
  /** Frozen daemons that will run again. */
  readonly #thaws: Promise<void>[] = [];

  constructor(
    scenario: Scenario,
    subjects: FaultSubjects,
    options: ScenarioReplayOptions,
    signal: AbortSignal,
    checks: ScenarioCheck[],
  ) {
    this.#scenario = scenario;
    this.#subjects = subjects;
    this.#options = options;
    this.#signal = signal;
    this.#checks = checks;
  }

  /** @returns no faults of the report's kind: what came of these is in the checks. */
  async toEnd(): Promise<readonly []> {
    for (const entry of this.#scenario.timeline) {
      await this.#endLossesUntil(entry.at);
      await this.#reach(entry.at);
      if (entry.expect !== undefined) await this.#expect(entry.at, entry.expect);
      else await this.#strike(entry);
    }
    await this.#endLossesUntil(Infinity);
    await Promise.all(this.#thaws);
    return [];
  }

  async #endLossesUntil(at: number): Promise<void> {
    while (this.#lossEnds.nextAt <= at) {
      const ended = this.#lossEnds.take();
      if (ended === null) return;
      await this.#reach(ended.at);
      await this.#fault([ended.engine], { kind: "drop", percent: 0 });
    }
  }

  /** Waits for a moment of the workload. */
  async #reach(at: number): Promise<void> {
    while ((await this.#subjects.fleet.call("totals", null)).modelledSeconds < at) {
      this.#signal.throwIfAborted();
      await sleep(POLL_MS);
    }
  }

  async #fault(engines: readonly number[], fault: Fault): Promise<void> {
    await Promise.all(engines.map((engine) => this.#subjects.fleet.call("fault", { engine, fault })));
  }

  async #strike(entry: TimelineEntry): Promise<void> {
    const { at, lose, stall, lose_index } = entry;
    const { engines: engineCount } = this.#scenario;
    this.#subjects.announce(`${at} s: ${JSON.stringify({ ...entry, at: undefined })}`);
    const planned = publisherFault(entry, this.#options.speedup);
    if (planned !== null) await this.#fault(enginesMeant(planned.engines, engineCount), planned.fault);
    if (lose !== undefined) this.#lossEnds.add(at, lose, engineCount);
    if (stall !== undefined) this.#freeze(stall.seconds / this.#options.speedup);
    if (lose_index !== undefined) await this.#killDaemon();
  }

  /** Not by the workload's clock: it stands still while an audit waits for the daemon. */
  #freeze(seconds: number): void {
    const { process } = this.#subjects;
    process.freeze();
    this.#thaws.push(
      sleep(1000 * seconds).then(() => {
        process.thaw();
      }),
    );
  }

  async #killDaemon(): Promise<void> {
    await Promise.all(this.#thaws.splice(0));
    await this.#subjects.beforeKill();
    await this.#subjects.process.kill();
    await this.#subjects.process.startAgain();
  }

  async #expect(at: number, { audit, within }: NonNullable<TimelineEntry["expect"]>): Promise<void> {
    const { fleet, daemon } = this.#subjects;
    const target = await fleet.call("positions", null);
    const lagging = async (engines: readonly EngineStatus[]): Promise<readonly Laggard[]> => {
      const now = await fleet.call("positions", null);
      const late = audit === "recovered" ? laggards(target, now, engines) : [];
      const doubtful = inexact(now, engines);
      return [...late, ...doubtful.filter(({ worker }) => late.every((other) => other.worker !== worker))];
    };
    const waited =
      audit === "sound"
        ? { seconds: 0, laggards: [] }
        : await waitUntilCaughtUp(daemon, within ?? 0, lagging);
    await fleet.call("pause", null);
    const found = await this.#subjects.checkpoint();
    await fleet.call("resume", null);
    const why = [
      ...(waited.laggards.length === 0 ? [] : [describeLaggards(waited.laggards)]),
      ...checkpointFaults(found),
    ];
    const { heldCount, dumpedCount, excusedCount } = found.audit;
    const excused = excusedCount === 0 ? "" : `, ${whole(excusedCount)} of which it could not know`;
    const counts = `${whole(heldCount)} blocks held${excused}, ${whole(dumpedCount)} in the index`;
    const after = within === undefined ? "" : `after ${waited.seconds.toFixed(2)} s: `;
    this.#checks.push({
      what: `${at} s: audit ${audit}${within === undefined ? "" : ` within ${within} s`}`,
      passed: why.length === 0,
      detail: why.length === 0 ? `${after}${counts}` : `${counts}; ${why.join("; ")}`,
    });
  }
}

/** The streams that the daemon does not call exact. */
function inexact(now: readonly StreamPosition[], engines: readonly EngineStatus[]): Laggard[] {
  const rankOf = new Map(engines.map(({ id, ranks }) => [id, ranks[0]]));
  return now.flatMap(({ worker, publishedSequenceNumber }) => {
    const rank = rankOf.get(worker);
    if (rank?.trust === "exact") return [];
    const { state = "absent", trust = "absent", last_sequence_number: applied = null } = rank ?? {};
    return [{ worker, state, trust, appliedSequenceNumber: applied ?? -1, publishedSequenceNumber }];
  });
}

function checkpointFaults({ audit, unsettled }: Checkpoint): string[] {
  const { differences, differenceCount } = audit;
  const shown = differences.slice(0, DIFFERENCES_SHOWN).map(describeDifference).join("; ");
  return [
    ...(unsettled === null ? [] : [`not everything was applied: ${unsettled}`]),
    ...(differenceCount === 0 ? [] : [`${whole(differenceCount)} differences: ${shown}`]),
  ];
}

function describeDifference({ kind, worker, tier, prefixHash, announcedIn }: Difference): string {
  const last = announcedIn === null ? "never announced" : `announced in message ${announcedIn}`;
  return `${kind} ${prefixHash} of ${worker} on the ${tier} (${last})`;
}
