/**
 * When to send traffic here: once the engines known at start are in sync or their deadline has
 * passed, and not while stopping. Known at start are those that the sources name when each of them
 * has named its engines for the first time. An empty index returns "no match" for every prompt,
 * which looks like an answer.
 *
 * Liveness is another question (does the event loop turn?) and has no state.
 */

import type { StreamState, Trust, TrustReason } from "@kvsync/core";

import { type StartFacts, startReport } from "../build-facts.ts";
import type { DiscoveryStatus } from "../discovery/discovery-status.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { BoardReader } from "../board/stream-board.ts";

/** One rank that readiness waits for. */
interface ReadinessEntry {
  readonly worker: string;
  readonly dp_rank: number;
  readonly state: StreamState;
  readonly trust: Trust;
  readonly trust_reason: TrustReason | null;
  readonly in_sync: boolean;
}

/** Why a daemon is ready or not. */
export const READINESS_REASONS = [
  "in_sync",
  "deadline_passed",
  "waiting_for_discovery",
  "waiting_for_engines",
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

/** Knows whether the daemon is ready. */
export class Readiness {
  readonly #registry: EngineRegistry;
  readonly #board: BoardReader;
  readonly #discovery: DiscoveryStatus;
  /** Null until every source has spoken. */
  #known: ReadonlySet<string> | null = null;
  readonly #deadlineMs: number;
  readonly #now: () => number;
  /** What runs and how it was started, for the verbose answer. */
  readonly start: ReturnType<typeof startReport>;
  #stopping = false;
  #wasReady = false;

  /**
   * @param sources - engines, their status, whether those that are known now are all there are, and how the
   *   process was started.
   * @param deadlineSeconds - longest wait, from now.
   * @param now - a clock in milliseconds.
   */
  constructor(
    sources: {
      readonly registry: EngineRegistry;
      readonly board: BoardReader;
      readonly discovery: DiscoveryStatus;
      readonly start: StartFacts;
    },
    deadlineSeconds: number,
    now: () => number,
  ) {
    this.#registry = sources.registry;
    this.#board = sources.board;
    this.#now = now;
    this.#discovery = sources.discovery;
    this.start = startReport(sources.start);
    this.#deadlineMs = now() + deadlineSeconds * 1000;
    this.#knownEngines();
  }

  /** Not ready from now on. */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * Where things stand. Once ready, engines falling out of sync do not take it back: each lookup says how far it can be
   * trusted, and taking every replica out of service at once would help nobody. A stalled ingest worker does: that is
   * this replica's fault alone.
   *
   * @returns readiness and the engines it waited for, those since removed left out.
   */
  report(): ReadinessReport {
    const engines: ReadinessEntry[] = [];
    const known = this.#knownEngines();
    for (const { engine, ranks } of this.#registry.engines()) {
      if (known !== null && !known.has(engine.id)) continue;
      for (const { dpRank, rankSlot } of ranks) {
        const { state, trust, trustReason: trust_reason } = this.#board.status(rankSlot);
        const in_sync = trust === "exact" || trust === "partial";
        engines.push({ worker: engine.id, dp_rank: dpRank, state, trust, trust_reason, in_sync });
      }
    }
    if (this.#stopping) return { ready: false, reason: "stopping", engines };
    if (this.#board.stalledWorkers().length > 0) return { ready: false, reason: "worker_stalled", engines };
    if (this.#wasReady || (known !== null && engines.every((entry) => entry.in_sync))) {
      this.#wasReady = true;
      return { ready: true, reason: "in_sync", engines };
    }
    if (this.#now() < this.#deadlineMs) {
      const reason = known === null ? "waiting_for_discovery" : "waiting_for_engines";
      return { ready: false, reason, engines };
    }
    return { ready: true, reason: "deadline_passed", engines };
  }

  /**
   * What a report comes from, one by one. A condition that does not hold may have been waited for long enough: the report's reason says so.
   *
   * @param report - of this moment.
   * @returns whether the daemon goes on running, its ingest workers, each source of engines, each rank that is waited for.
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
    const ranks = engines.map(({ worker, dp_rank, state, trust, trust_reason, in_sync }) => ({
      name: `engine/${worker}/${dp_rank}`,
      ok: in_sync,
      reason: `trust is ${trust}${trust_reason === null ? "" : ` (${trust_reason})`}, the stream is ${state}`,
    }));
    return [running, workers, ...sources, ...ranks];
  }

  #knownEngines(): ReadonlySet<string> | null {
    if (this.#known === null && this.#discovery.isComplete)
      this.#known = new Set([...this.#registry.engines()].map(({ engine }) => engine.id));
    return this.#known;
  }
}
