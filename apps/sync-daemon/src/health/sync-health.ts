/**
 * How well each model's engines are followed: the body of `/api/v1/kv-sync/health`.
 *
 * A model is degraded when one of its streams is not exact (stream-counts.ts), which one that is
 * not connected never is. It is unhealthy when its last event is older than SILENCE_MS_MAX and no
 * stream was verified as idle. A probe of the engine's replay socket verifies that, and trust shows
 * it.
 *
 * A model's KV-cache groups are counted by shape, and its unknown kinds by name: engines of one
 * model usually agree. `/api/v1/engines` has those of each rank.
 */

import { setImmediate as turn } from "node:timers/promises";

import type { HeldGroup, PrefixReader } from "@kvsync/core";

import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { BoardReader } from "../board/stream-board.ts";
import type { UnknownKinds } from "../board/unknown-kinds.ts";
import type { HealthStatus } from "./health-checks.ts";
import { StreamCounter, type StreamCounts } from "./stream-counts.ts";

const SILENCE_MS_MAX = 300_000;
/** Ranks between two turns of the event loop: about 5 ms. */
const RANKS_PER_TURN = 512;
/** Shapes of KV-cache groups listed for a model: a model has a handful, the same for all of its engines. */
export const GROUPS_LISTED_MAX = 64;
/** Unknown kinds listed for a model. */
export const KINDS_LISTED_MAX = 64;

/** A shape of KV-cache groups, and how many ranks have such a group. */
interface GroupCount {
  readonly is_main: boolean;
  readonly kind: HeldGroup["kind"];
  readonly rule: HeldGroup["rule"];
  readonly window_tokens: number | null;
  readonly block_size: number;
  readonly ranks: number;
}

/** One model's streams, added up. */
interface ModelHealth {
  readonly status: HealthStatus;
  readonly streams: StreamCounts;
  /** As many as streams are connected; the name that clients of AIBrix know. */
  readonly active_connections: number;
  /** Events applied per second since the last look, at most a minute ago; null at the first. */
  readonly event_rate: number | null;
  /** ISO time of the last message; null before the first. */
  readonly last_event: string | null;
  /** Messages and events dropped for faults, and failed replays. */
  readonly errors: number;
  /** The most frequent ones, at most GROUPS_LISTED_MAX. */
  readonly groups: readonly GroupCount[];
  readonly groups_total: number;
  /** The most frequent ones, at most KINDS_LISTED_MAX. */
  readonly unknown_kinds: readonly { readonly kind: string; readonly ranks: number }[];
  readonly unknown_kinds_total: number;
}

/** The body. */
export interface SyncHealthReport {
  readonly status: HealthStatus;
  /** Of all models. */
  readonly streams: StreamCounts;
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
  readonly #reader: PrefixReader;
  readonly #unknownKinds: UnknownKinds;
  readonly #now: () => number;
  #running: Promise<SyncHealthReport> | null = null;
  readonly #startedMs: number;
  readonly #samples = new Map<string, Sample>();
  readonly #rates = new Map<string, number>();

  /**
   * @param sources - engines, their status and their groups.
   * @param now - milliseconds since the Unix epoch.
   */
  constructor(
    sources: {
      readonly registry: EngineRegistry;
      readonly board: BoardReader;
      readonly reader: PrefixReader;
      readonly unknownKinds: UnknownKinds;
    },
    now: () => number,
  ) {
    this.#registry = sources.registry;
    this.#board = sources.board;
    this.#reader = sources.reader;
    this.#unknownKinds = sources.unknownKinds;
    this.#now = now;
    this.#startedMs = now();
  }

  /** How things stand. O(streams), 10 microseconds each, with turns of the event loop between them. Callers at one time share a report. */
  report(): Promise<SyncHealthReport> {
    this.#running ??= this.#report().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #report(): Promise<SyncHealthReport> {
    const models: Record<string, ModelHealth> = {};
    const total = new StreamCounter();
    for (const model of [...this.#registry.models()]) models[model] = await this.#look(model, total);
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
    return { status, streams: total.counts, models, last_updated: new Date(this.#now()).toISOString() };
  }

  async #look(model: string, total: StreamCounter): Promise<ModelHealth> {
    const nowMs = this.#now();
    let [events, errors, lastEventMs] = [0, 0, Number.NEGATIVE_INFINITY];
    let isVerified = false;
    const counter = new StreamCounter();
    const groups = new RankCounts<Omit<GroupCount, "ranks">>();
    const kinds = new RankCounts<{ readonly kind: string }>();
    let looked = 0;
    for (const engine of [...(this.#registry.enginesOf(model) ?? [])]) {
      for (const { rankSlot } of engine.ranks) {
        looked += 1;
        if (looked % RANKS_PER_TURN === 0) await turn();
        // Removed meanwhile: its slots may be another one's.
        if (this.#registry.engine(engine.engine.id) !== engine) break;
        const report = this.#board.report(rankSlot);
        const { trust, lastEventAtMs, counters } = report;
        counter.add(report);
        total.add(report);
        if (trust === "exact" || trust === "partial") isVerified = true;
        lastEventMs = Math.max(lastEventMs, lastEventAtMs ?? Number.NEGATIVE_INFINITY);
        events += sumOf(counters.eventsApplied);
        errors += sumOf(counters.faults) + counters.replayEnds.failed;
        groups.add(this.#reader.groups(rankSlot).map(shapeOf));
        kinds.add(this.#unknownKinds.of(rankSlot).map((kind) => ({ kind })));
      }
    }
    const silentMs = nowMs - Math.max(lastEventMs, this.#startedMs);
    const streams = counter.counts;
    const isSilent = silentMs > SILENCE_MS_MAX && !isVerified;
    return {
      status: isSilent ? "unhealthy" : streams.exact < streams.expected ? "degraded" : "healthy",
      streams,
      active_connections: streams.connected,
      event_rate: this.#rate(model, { atMs: nowMs, events }),
      last_event: Number.isFinite(lastEventMs) ? new Date(lastEventMs).toISOString() : null,
      errors,
      groups: groups.first(GROUPS_LISTED_MAX),
      groups_total: groups.size,
      unknown_kinds: kinds.first(KINDS_LISTED_MAX),
      unknown_kinds_total: kinds.size,
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

/** Counts the ranks that have a thing. Things are equal when their JSON is. */
class RankCounts<Thing extends object> {
  readonly #counts = new Map<string, { readonly thing: Thing; ranks: number }>();

  /** Adds one rank's things; a thing that the rank has twice counts once. */
  add(things: readonly Thing[]): void {
    const own = new Map(things.map((thing) => [JSON.stringify(thing), thing]));
    for (const [key, thing] of own) {
      const count = this.#counts.get(key) ?? { thing, ranks: 0 };
      count.ranks += 1;
      this.#counts.set(key, count);
    }
  }

  /** Number of different things. */
  get size(): number {
    return this.#counts.size;
  }

  /** The most frequent things. */
  first(max: number): (Thing & { readonly ranks: number })[] {
    const all = [...this.#counts.values()].sort((a, b) => b.ranks - a.ranks);
    return all.slice(0, max).map(({ thing, ranks }) => ({ ...thing, ranks }));
  }
}

function shapeOf({ isMain, kind, rule, windowTokens, blockSize }: HeldGroup): Omit<GroupCount, "ranks"> {
  return {
    is_main: isMain,
    kind,
    rule,
    window_tokens: windowTokens === 0 ? null : windowTokens,
    block_size: blockSize,
  };
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
