/**
 * How well each model's engines are followed: the body of `/api/v1/kv-sync/health`.
 *
 * A model is degraded when none of its engines is connected. It is unhealthy when its last event is
 * older than SILENCE_MS_MAX and no stream was verified as idle. A probe of the engine's replay
 * socket verifies that, and trust shows it.
 */

import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { BoardReader } from "../board/stream-board.ts";
import type { HealthStatus } from "./health-checks.ts";

const SILENCE_MS_MAX = 300_000;

/** One model's streams, added up. */
interface ModelHealth {
  readonly status: HealthStatus;
  readonly active_connections: number;
  /** Events applied per second since the last look, at most a minute ago; null at the first. */
  readonly event_rate: number | null;
  /** ISO time of the last message; null before the first. */
  readonly last_event: string | null;
  /** Messages and events dropped for faults, and failed replays. */
  readonly errors: number;
}

/** The body. */
export interface SyncHealthReport {
  readonly status: HealthStatus;
  readonly models: Readonly<Record<string, ModelHealth>>;
  readonly last_updated: string;
}

interface Sample {
  readonly atMs: number;
  readonly events: number;
}

/** Rates are over at least this, so that two probes in a row do not divide by nothing. */
const RATE_MS_MIN = 1000;

/** Looks at all models. */
export class SyncHealth {
  readonly #registry: EngineRegistry;
  readonly #board: BoardReader;
  readonly #now: () => number;
  readonly #startedMs: number;
  readonly #samples = new Map<string, Sample>();
  readonly #rates = new Map<string, number>();

  /**
   * @param sources - engines and their status.
   * @param now - milliseconds since the Unix epoch.
   */
  constructor(
    sources: { readonly registry: EngineRegistry; readonly board: BoardReader },
    now: () => number,
  ) {
    this.#registry = sources.registry;
    this.#board = sources.board;
    this.#now = now;
    this.#startedMs = now();
  }

  /** How things stand. O(streams), microseconds each. */
  report(): SyncHealthReport {
    const models: Record<string, ModelHealth> = {};
    for (const model of this.#registry.models()) models[model] = this.#look(model);
    for (const model of this.#samples.keys()) {
      if (model in models) continue;
      this.#samples.delete(model);
      this.#rates.delete(model);
    }
    const all = Object.values(models);
    const status = all.some((one) => one.status === "unhealthy")
      ? "unhealthy"
      : all.some((one) => one.status === "degraded")
        ? "degraded"
        : "healthy";
    return { status, models, last_updated: new Date(this.#now()).toISOString() };
  }

  #look(model: string): ModelHealth {
    const nowMs = this.#now();
    let [connections, events, errors, lastEventMs] = [0, 0, 0, Number.NEGATIVE_INFINITY];
    let isVerified = false;
    for (const { ranks } of this.#registry.enginesOf(model) ?? []) {
      for (const { rankSlot } of ranks) {
        const { connected, trust, lastEventAtMs, counters } = this.#board.report(rankSlot);
        if (connected) connections += 1;
        if (trust === "exact" || trust === "partial") isVerified = true;
        lastEventMs = Math.max(lastEventMs, lastEventAtMs ?? Number.NEGATIVE_INFINITY);
        events += sumOf(counters.eventsApplied);
        errors += sumOf(counters.faults) + counters.replayEnds.failed;
      }
    }
    const silentMs = nowMs - Math.max(lastEventMs, this.#startedMs);
    const status =
      silentMs > SILENCE_MS_MAX && !isVerified ? "unhealthy" : connections === 0 ? "degraded" : "healthy";
    return {
      status,
      active_connections: connections,
      event_rate: this.#rate(model, { atMs: nowMs, events }),
      last_event: Number.isFinite(lastEventMs) ? new Date(lastEventMs).toISOString() : null,
      errors,
    };
  }

  #rate(model: string, sample: Sample): number | null {
    const last = this.#samples.get(model);
    if (last === undefined || sample.events < last.events) {
      this.#samples.set(model, sample);
      this.#rates.delete(model);
    } else if (sample.atMs - last.atMs >= RATE_MS_MIN) {
      this.#samples.set(model, sample);
      const perSecond = (1000 * (sample.events - last.events)) / (sample.atMs - last.atMs);
      this.#rates.set(model, Math.round(perSecond * 10) / 10);
    }
    return this.#rates.get(model) ?? null;
  }
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
