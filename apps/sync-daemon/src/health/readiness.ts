/**
 * When to send traffic here: once the engines known at start are in sync or their deadline has
 * passed, and not while stopping. Known at start are those that the sources name when each of them
 * has named its engines for the first time. An empty index returns "no match" for every prompt,
 * which looks like an answer.
 *
 *                        │ index from a snapshot │ without, and no other replica to take it from │ without, though one is named
 *   a rank is in sync    │ exact, partial        │ exact, partial                                 │ exact
 *
 * In a roll-out a replica that began without a snapshot leaves the traffic to those that have one. A
 * rank that is exact lacks nothing, and the deadline ends the wait in any case.
 *
 * Liveness is another question (does the event loop turn?) and has no state.
 */

import {
  HEALED_BY,
  type StreamState,
  type Trust,
  TRUST_REASONS,
  type TrustReason,
  type TrustReasonRow,
} from "@kvsync/core";

import { type StartFacts, startReport } from "../build-facts.ts";
import type { DiscoveryStatus } from "../discovery/discovery-status.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { BoardReader } from "../board/stream-board.ts";
import type { LineGate } from "../log/line-gate.ts";

/** Time between two looks until the engines were in sync: that they were must not depend on who asked. */
const LOOK_MS = 250;

/** One rank that readiness waits for. */
interface ReadinessEntry {
  readonly worker: string;
  readonly dp_rank: number;
  readonly state: StreamState;
  readonly trust: Trust;
  readonly trust_reason: TrustReason | null;
  /** Since when trust and reason are the present ones; null for no time. */
  readonly trust_since: string | null;
  readonly in_sync: boolean;
}

/** Why a daemon is ready or not. */
export const READINESS_REASONS = [
  "in_sync",
  "was_in_sync",
  "deadline_passed",
  "waiting_for_discovery",
  "waiting_for_engines",
  "waiting_for_index",
  "worker_stalled",
  "stopping",
] as const;

/** The answer, with its reason. */
export interface ReadinessReport {
  readonly ready: boolean;
  readonly reason: (typeof READINESS_REASONS)[number];
  readonly engines: readonly ReadinessEntry[];
}

/** One of the things that readiness is made of, as Kubernetes' own probes list theirs. */
export interface ReadinessCondition {
  readonly name: string;
  readonly ok: boolean;
  readonly reason: string;
}

/** What the index began with. */
export interface IndexStart {
  /** The snapshot that it continues from; `none` without one. */
  readonly origin: "own" | "previous" | "sibling" | "none";
  /** Whether another replica is named that could have given one (snapshot.warm_from). */
  readonly hasSibling: boolean;
}

const INDEX_TEXTS: Readonly<Record<IndexStart["origin"], string>> = {
  own: "continues from the last snapshot",
  previous: "continues from the snapshot before the last one",
  sibling: "continues from another replica's snapshot",
  none: "began without a snapshot",
};

/** Knows whether the daemon is ready. */
export class Readiness {
  readonly #registry: EngineRegistry;
  readonly #board: BoardReader;
  readonly #discovery: DiscoveryStatus;
  readonly #index: IndexStart;
  readonly #log: Pick<LineGate, "write">;
  /** Null until every source has spoken. */
  #known: ReadonlySet<string> | null = null;
  readonly #deadlineMs: number;
  readonly #now: () => number;
  /** What runs and how it was started, for the verbose answer. */
  readonly start: ReturnType<typeof startReport>;
  #stopping = false;
  #wasInSync = false;
  /** Ranks with a short history have been told of, if there were any. */
  #isTold = false;
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param sources - engines, their status, whether those that are known now are all there are, and how the
   *   process and its index were started.
   * @param deadlineSeconds - longest wait, from now.
   * @param now - a clock in milliseconds.
   */
  constructor(
    sources: {
      readonly registry: EngineRegistry;
      readonly board: BoardReader;
      readonly discovery: DiscoveryStatus;
      readonly start: StartFacts;
      readonly index: IndexStart;
      readonly log: Pick<LineGate, "write">;
    },
    deadlineSeconds: number,
    now: () => number,
  ) {
    this.#registry = sources.registry;
    this.#board = sources.board;
    this.#now = now;
    this.#discovery = sources.discovery;
    this.#index = sources.index;
    this.#log = sources.log;
    this.start = startReport(sources.start);
    this.#deadlineMs = now() + deadlineSeconds * 1000;
    this.#knownEngines();
  }

  /** Looks from now on, until the engines were in sync. */
  watch(): void {
    this.#timer = setInterval(() => {
      this.report();
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** Not ready from now on. */
  stop(): void {
    this.#stopping = true;
    this.#endLooks();
  }

  #endLooks(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /**
   * Where things stand. Once ready, engines falling out of sync do not take it back, and the reason says that they were
   * in sync: each lookup says how far it can be trusted, and taking every replica out of service at once would help
   * nobody. A stalled ingest worker does take it back: that is this replica's fault alone.
   *
   * @returns readiness and the engines it waited for, those since removed left out.
   */
  report(): ReadinessReport {
    const known = this.#knownEngines();
    const engines = this.#entriesOf(known);
    if (this.#stopping) return { ready: false, reason: "stopping", engines };
    if (this.#board.stalledWorkers().length > 0) return { ready: false, reason: "worker_stalled", engines };
    const isInSync = known !== null && engines.every((entry) => entry.in_sync);
    if (isInSync && !this.#lacksBlocks(engines)) {
      this.#wasInSync = true;
      this.#endLooks();
    }
    if (this.#wasInSync || this.#now() >= this.#deadlineMs) this.#tellIncomplete(engines);
    if (this.#wasInSync) return { ready: true, reason: isInSync ? "in_sync" : "was_in_sync", engines };
    if (this.#now() < this.#deadlineMs) {
      const waited = isInSync ? "waiting_for_index" : "waiting_for_engines";
      const reason = known === null ? "waiting_for_discovery" : waited;
      return { ready: false, reason, engines };
    }
    return { ready: true, reason: "deadline_passed", engines };
  }

  /**
   * What a report comes from, one by one. A condition that does not hold may have been waited for long enough: the report's reason says so.
   *
   * @param report - of this moment.
   * @returns whether the daemon goes on running, its ingest workers, each source of engines, what the index began with, each rank
   *   that is waited for, and each reason for which ranks miss blocks, which keeps no daemon from being ready.
   */
  conditions({ engines }: ReadinessReport): readonly ReadinessCondition[] {
    const running = {
      name: "running",
      ok: !this.#stopping,
      reason: this.#stopping ? "stopping" : "not stopping",
    };
    const stalled = this.#board.stalledWorkers();
    const workers = {
      name: "ingest_workers",
      ok: stalled.length === 0,
      reason: stalled.length === 0 ? "alive" : `no sign of life of ingest-${stalled.join(", ingest-")}`,
    };
    const sources = this.#discovery.inUse().map(({ source, state, lastSuccessMs, failure }) => {
      const named = lastSuccessMs === null ? "has not named its engines yet" : "has named its engines";
      const now = failure === null ? state : `${state}: ${failure.message}`;
      return { name: `discovery/${source}`, ok: lastSuccessMs !== null, reason: `${named}, is ${now}` };
    });
    const lacking = engines.filter(({ trust }) => trust !== "exact").length;
    const index = {
      name: "index",
      ok: this.#wasInSync || !this.#lacksBlocks(engines),
      reason:
        this.#index.origin === "none" && lacking > 0
          ? `${INDEX_TEXTS.none}, and ${lacking} of ${engines.length} ranks are not exact`
          : INDEX_TEXTS[this.#index.origin],
    };
    const ranks = engines.map(({ worker, dp_rank, state, trust, trust_reason, in_sync }) => ({
      name: `engine/${worker}/${dp_rank}`,
      ok: in_sync,
      reason: `trust is ${trust}${trust_reason === null ? "" : ` (${trust_reason})`}, the stream is ${state}`,
    }));
    return [running, workers, ...sources, index, ...ranks, ...partialConditions(engines)];
  }

  /** Says once, when the daemon is ready, that it cannot know all that engines hold, and what would change that. */
  #tellIncomplete(engines: readonly ReadinessEntry[]): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const incomplete = engines.filter(({ trust_reason }) => trust_reason === "history_incomplete");
    const [first] = incomplete;
    if (first === undefined) return;
    this.#log.write("started_incomplete", {
      index: this.#index.origin,
      ranks: engines.length,
      incomplete_ranks: incomplete.length,
      pod: first.worker,
      ends_with: endOf("history_incomplete"),
    });
  }

  /** Whether another replica's index would have blocks that this one may lack. */
  #lacksBlocks(engines: readonly ReadinessEntry[]): boolean {
    const { origin, hasSibling } = this.#index;
    return origin === "none" && hasSibling && engines.some(({ trust }) => trust !== "exact");
  }

  /** The ranks that are waited for; all of them before that is known. */
  #entriesOf(known: ReadonlySet<string> | null): ReadinessEntry[] {
    const entries: ReadinessEntry[] = [];
    for (const { engine, ranks } of this.#registry.engines()) {
      if (known !== null && !known.has(engine.id)) continue;
      for (const { dpRank, rankSlot } of ranks) {
        const { state, trust, trustReason: trust_reason, trustSinceMs } = this.#board.status(rankSlot);
        const trust_since = trustSinceMs === null ? null : new Date(trustSinceMs).toISOString();
        const in_sync = trust === "exact" || trust === "partial";
        entries.push({
          worker: engine.id,
          dp_rank: dpRank,
          state,
          trust,
          trust_reason,
          trust_since,
          in_sync,
        });
      }
    }
    return entries;
  }

  #knownEngines(): ReadonlySet<string> | null {
    if (this.#known === null && this.#discovery.isComplete)
      this.#known = new Set([...this.#registry.engines()].map(({ engine }) => engine.id));
    return this.#known;
  }
}

/** What ends a reason, for people. */
function endOf(reason: TrustReason): string {
  const { kind, heals }: TrustReasonRow = TRUST_REASONS[reason];
  return heals ?? HEALED_BY[kind];
}

/** Which ranks miss blocks, why, since when, and what ends it: by reason. */
function partialConditions(engines: readonly ReadinessEntry[]): ReadinessCondition[] {
  const byReason = new Map<TrustReason, ReadinessEntry[]>();
  for (const entry of engines) {
    if (entry.trust !== "partial" || entry.trust_reason === null) continue;
    byReason.set(entry.trust_reason, [...(byReason.get(entry.trust_reason) ?? []), entry]);
  }
  return [...byReason].map(([reason, ranks]) => {
    const since = ranks.flatMap(({ trust_since }) => trust_since ?? []).sort()[0] ?? "an unknown time";
    const { says }: TrustReasonRow = TRUST_REASONS[reason];
    return {
      name: `partial/${reason}`,
      ok: true,
      reason: `${ranks.length} of ${engines.length} ranks since ${since}. ${says} It ends with ${endOf(reason)}`,
    };
  });
}
