/**
 * Runs a scenario and judges it: expectations of the timeline when they are due, those of the whole run at its end. When an audit fails,
 * the run is played again to find the first event after which index and engines differ.
 */
import type { SyncCounters } from "@kvsync/core";

import { latencyQuantiles } from "../simulate/latency-histogram.ts";
import { hitRate, type SimulationResult } from "../simulate/simulation-result.ts";
import type { Workload } from "../workload/workload.ts";
import type { AuditOutcome, BlockDifference } from "./index-audit.ts";
import type { EndExpectation, Scenario } from "./scenario.ts";
import { DIFFERENCES_SHOWN, endChecks, type ScenarioCheck, whole } from "./scenario-check.ts";
import { type DueExpectation, ScenarioPlayer } from "./scenario-player.ts";

/** An expectation that has some time is looked at so often. */
const POLL_SECONDS = 0.01;

/** A judged run. */
export interface ScenarioReport {
  readonly name: string;
  readonly checks: readonly ScenarioCheck[];
  readonly passed: boolean;
  readonly result: SimulationResult;
  /** Events of the run, simulated and scripted. */
  readonly events: number;
}

/**
 * Runs.
 *
 * @param scenario - see Scenario.
 * @param workload - its workload, opened.
 * @returns the report; it is the same each time.
 * @throws SimulationError when the fleet cannot be had.
 */
export function runScenario(scenario: Scenario, workload: Workload): ScenarioReport {
  const player = new ScenarioPlayer(scenario, workload, true);
  const checks = new Playback(scenario, workload, player).toEnd();
  const result = player.simulation.result();
  checks.push(...judgeEnd(scenario, workload, player, result));
  player.simulation.close();
  return {
    name: scenario.name,
    checks,
    passed: checks.every(({ passed }) => passed),
    result,
    events: player.events,
  };
}

interface Pending {
  readonly expectation: DueExpectation;
  readonly deadline: number;
  /** Messages of each engine when it fell due. */
  readonly published: readonly number[];
}

class Playback {
  readonly #scenario: Scenario;
  readonly #workload: Workload;
  readonly #player: ScenarioPlayer;
  readonly #checks: ScenarioCheck[] = [];
  #pending: Pending[] = [];
  #nextPollAt = 0;

  constructor(scenario: Scenario, workload: Workload, player: ScenarioPlayer) {
    this.#scenario = scenario;
    this.#workload = workload;
    this.#player = player;
  }

  toEnd(): ScenarioCheck[] {
    const player = this.#player;
    while (player.nextAt < Infinity) {
      if (player.nextAt > this.#nextPollAt) this.#poll();
      const due = player.next();
      if (due === null) continue;
      const deadline = due.at + (due.within ?? 0);
      this.#pending.push({ expectation: due, deadline, published: player.publishedCounts });
      this.#poll();
    }
    // Streams go on looking after themselves when the requests have ended.
    while (this.#pending.length > 0) {
      player.simulation.runUntil(player.simulation.nowSeconds + POLL_SECONDS);
      this.#poll();
    }
    return this.#checks;
  }

  #poll(): void {
    const now = this.#player.simulation.nowSeconds;
    this.#nextPollAt = now + POLL_SECONDS;
    if (this.#pending.length === 0) return;
    const outcome = this.#player.audit();
    this.#pending = this.#pending.filter((pending) => !this.#settle(pending, outcome, now));
  }

  /** @returns whether it is decided. */
  #settle(pending: Pending, outcome: AuditOutcome, now: number): boolean {
    const { expectation, deadline, published } = pending;
    const { at, audit, within } = expectation;
    const isSound = outcome.differences.length === 0;
    const isExact = isSound && this.#player.isExact;
    const isRecovered = isExact && this.#player.hasApplied(published);
    const passed = { sound: isSound, exact: isExact, recovered: isRecovered }[audit];
    if (!passed && now < deadline) return false;
    const limit = within === undefined ? "" : ` within ${within} s`;
    const counts = `${whole(outcome.heldCount)} copies held, ${whole(outcome.indexedCount)} in the index`;
    const after = within === undefined ? "" : `after ${(now - at).toFixed(2)} s: `;
    this.#checks.push({
      what: `${at} s: audit ${audit}${limit}`,
      passed,
      detail: passed
        ? `${after}${counts}`
        : `${counts}; ${isSound ? this.#untrusted() : this.#explain(outcome)}`,
    });
    return true;
  }

  #untrusted(): string {
    const doubtful = Array.from({ length: this.#scenario.engines }, (_, engine) => engine)
      .map((engine) => ({ engine, trust: this.#player.wire.trustOf(engine) }))
      .filter(({ trust }) => trust !== "exact");
    if (doubtful.length === 0) return "not everything that had been published was applied";
    return doubtful.map(({ engine, trust }) => `engine ${engine} is ${trust}`).join(", ");
  }

  #explain({ differences }: AuditOutcome): string {
    const shown = differences.slice(0, DIFFERENCES_SHOWN).map(describeDifference).join("; ");
    const first = firstDifference(this.#scenario, this.#workload, this.#player.events);
    return `${differences.length} differences: ${shown}. First different after event ${first.event}: ${first.description}`;
  }
}

/**
 * Finds the event after which index and engines differ for the first time, by playing the scenario again and again to the middle of
 * what is left. (Were they to agree again in between, it finds one of the events after which they differ.)
 *
 * @param scenario - as it was played.
 * @param workload - likewise.
 * @param eventsMax - events after which they differ.
 * @returns the event's number, from 1, and what it was. O(events · log events).
 */
export function firstDifference(
  scenario: Scenario,
  workload: Workload,
  eventsMax: number,
): { readonly event: number; readonly description: string } {
  let [sound, different] = [0, eventsMax];
  while (different - sound > 1) {
    const middle = Math.floor((sound + different) / 2);
    if (playTo(scenario, workload, middle).isSound) sound = middle;
    else different = middle;
  }
  return { event: different, description: playTo(scenario, workload, different).description };
}

function playTo(
  scenario: Scenario,
  workload: Workload,
  events: number,
): { readonly isSound: boolean; readonly description: string } {
  const player = new ScenarioPlayer(scenario, workload, true);
  while (player.events < events && player.nextAt < Infinity) player.next();
  const isSound = player.audit().differences.length === 0;
  player.simulation.close();
  return { isSound, description: player.describeLast() };
}

function judgeEnd(
  scenario: Scenario,
  workload: Workload,
  player: ScenarioPlayer,
  result: SimulationResult,
): ScenarioCheck[] {
  const { totals, firstToken } = result;
  const ofStreams = (count: (counters: SyncCounters) => number): number =>
    Array.from({ length: scenario.engines }, (_, engine) =>
      count(player.wire.syncOf(engine).counters),
    ).reduce((sum, one) => sum + one, 0);
  const figures: Readonly<Record<EndExpectation, () => number>> = {
    hit_rate: () => hitRate(totals),
    hit_rate_loss: () => hitRateWithoutFaults(scenario, workload) - hitRate(totals),
    first_token_p99: () => latencyQuantiles(firstToken, [0.99])[0] ?? 0,
    replays: () => totals.replays,
    messages_lost: () => totals.messagesLost,
    gaps: () => ofStreams(({ gaps }) => gaps),
    restarts_noticed: () => ofStreams(({ restarts }) => restarts),
  };
  return endChecks(scenario.end, (name) => figures[name]());
}

function hitRateWithoutFaults(scenario: Scenario, workload: Workload): number {
  const player = new ScenarioPlayer(scenario, workload, false);
  player.simulation.runToEnd();
  const { totals } = player.simulation.result();
  player.simulation.close();
  return hitRate(totals);
}

function describeDifference(difference: BlockDifference): string {
  const { engine, kind, tier, prefixHash, copiesHeld, copiesIndexed, sequenceNumber } = difference;
  const last = sequenceNumber === null ? "never announced" : `last in message ${sequenceNumber}`;
  return `${kind} ${prefixHash} of engine ${engine} on the ${tier} (held ${copiesHeld}, indexed ${copiesIndexed}, ${last})`;
}
