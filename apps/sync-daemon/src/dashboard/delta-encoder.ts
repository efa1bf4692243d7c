/**
 * The fleet as rows of a table, and what changed in it from one second to the next.
 *
 *     registry, board, index ──look──▶ rows ─▶ snapshot   every row in columns
 *                                       └────▶ delta      seq: [slot, step]   set: [slot, column, value]
 *                                                         gone: [slot]        new: [row]
 *
 * A row is a rank, and its slot is its key. A slot that another engine's rank took over is gone and new.
 *
 * Invariants
 *  E1  A snapshot, with the deltas behind it, is the snapshot of the last delta (fast-check model in
 *      delta-encoder.test.ts). Ages are left out: the page lets them grow.
 *  E2  The list of models only grows, and each row's model is in it before the row is sent. Beyond
 *      MODELS_MAX it begins again, and `isAnew` is true: snapshots are due.
 *  E3  What is gone leaves the rows.
 *  E4  The share of the last hour is counted again after each change of its rank. It grows with
 *      time alone, so it is counted once in SHARE_LOOKS looks, too. A rate, which is one of ten seconds, is read again
 *      once in RATE_LOOKS looks. Ranks take turns, so that no delta has the figures of all.
 */

import { STREAM_STATES, TRUST_LEVELS } from "@kvsync/core";

import type { EventCounts } from "../board/stream-board.ts";
import type { RegisteredEngine, RegisteredRank } from "../engine/engine-directory.ts";
import { exactShare } from "./exact-share.ts";
import { EventGrowth, type FleetSources } from "./fleet-sums.ts";
import type { TierCounts } from "./index-scan.ts";

/** Models in the list, those that are gone among them. */
const MODELS_MAX = 2048;
/** A minute of looks. */
const SHARE_LOOKS = 60;
/** As many seconds as a rate is of (rank-minutes.ts). */
const RATE_LOOKS = 10;

/** Columns of a row, in their order. */
export const COLUMNS = [
  "slot",
  "id",
  "model",
  "source",
  "state",
  "trust",
  "connected",
  "seq",
  "age_ms",
  "blocks",
  "gaps",
  "missed",
  "replays",
  "drops",
  "restarts",
  "faults",
  "rank",
  "reason",
  "since",
  "tiers",
  "rate",
  "exact_hour",
] as const;

const COLUMN = Object.fromEntries(COLUMNS.map((name, i) => [name, i])) as Readonly<
  Record<(typeof COLUMNS)[number], number>
>;

/** A cell of a row; a list is blocks by tier, and another list is another value. */
type Cell = string | number | null | readonly number[];
/** A row, in the order of COLUMNS. */
export type Row = readonly Cell[];

/** Everything, as it is sent. */
export interface FleetSnapshot {
  readonly columns: typeof COLUMNS;
  readonly models: readonly string[];
  readonly states: typeof STREAM_STATES;
  readonly trusts: typeof TRUST_LEVELS;
  readonly rows: readonly Row[];
}

/** What changed, as it is sent. */
export interface FleetDelta {
  /** Steps of `seq`; the last message came just now. */
  readonly seq: readonly (readonly [slot: number, step: number])[];
  readonly set: readonly (readonly [slot: number, column: number, value: Cell])[];
  readonly gone: readonly number[];
  readonly new: readonly Row[];
  /** The whole list, when it has grown. */
  readonly models?: readonly string[];
}

/** A look at the fleet. */
export interface FleetLook {
  readonly delta: FleetDelta;
  readonly events: EventCounts;
  /** Ranks by trust, in the order of TRUST_LEVELS. */
  readonly trusts: readonly number[];
}

/** A row as it was sent last. */
interface KnownRow {
  readonly owner: RegisteredEngine;
  cells: Row;
  lastEventAtMs: number | null;
  /** Changes of the rank that its share of the last hour has (E4). */
  recorded: number;
}

/** The fleet, with blocks by tier where they were counted, and events per second where they were measured. */
export interface EncoderSources extends FleetSources {
  readonly tiersOf: (owner: RegisteredEngine, rankSlot: number) => TierCounts | null;
  readonly rateOf: (owner: RegisteredEngine, rankSlot: number) => number | null;
}

/** Knows what viewers were told. */
export class DeltaEncoder {
  readonly #sources: EncoderSources;
  readonly #sourceOf: (engine: string) => string | null;
  readonly #now: () => number;
  readonly #rows = new Map<number, KnownRow>();
  readonly #events = new EventGrowth();
  readonly #models = new Map<string, number>();
  #looks = 0;
  /** Whether snapshots are due for every viewer (E2). */
  isAnew = false;

  /**
   * @param sources - the fleet, and blocks by tier.
   * @param sourceOf - which source an engine is followed for; null when it was removed just now.
   * @param now - milliseconds since the Unix epoch.
   */
  constructor(sources: EncoderSources, sourceOf: (engine: string) => string | null, now: () => number) {
    this.#sources = sources;
    this.#sourceOf = sourceOf;
    this.#now = now;
  }

  /** What the last look saw, as a snapshot. */
  snapshot(): FleetSnapshot {
    return {
      columns: COLUMNS,
      models: [...this.#models.keys()],
      states: STREAM_STATES,
      trusts: TRUST_LEVELS,
      rows: [...this.#rows.values()].map(({ cells }) => cells),
    };
  }

  /**
   * Looks at the fleet.
   *
   * @returns what changed since the last look; everything is new at the first.
   */
  look(): FleetLook {
    const nowMs = this.#now();
    this.#looks += 1;
    if (this.#models.size > MODELS_MAX) {
      this.#models.clear();
      this.#rows.clear();
      this.isAnew = true;
    }
    const modelsBefore = this.#models.size;
    const seen = new Set<number>();
    const trusts = TRUST_LEVELS.map(() => 0);
    const changed = {
      seq: [] as [number, number][],
      set: [] as [number, number, Cell][],
      gone: [] as number[],
      new: [] as Row[],
    };
    const events = this.#events.since(this.#sources, (owner, rank) => {
      const { rankSlot } = rank;
      seen.add(rankSlot);
      // Before the turns are read: one that comes in between is found at the next look.
      const recorded = this.#sources.board.history.recorded(rankSlot);
      const { cells, lastEventAtMs } = this.#rowOf(owner, rank, recorded, nowMs);
      const trust = cells[COLUMN.trust];
      if (typeof trust === "number") trusts[trust] = (trusts[trust] ?? 0) + 1;
      const known = this.#rows.get(rankSlot);
      if (known?.owner === owner) {
        compare(known, cells, lastEventAtMs, changed);
        known.cells = cells;
        known.lastEventAtMs = lastEventAtMs;
        known.recorded = recorded;
        return;
      }
      if (known !== undefined) changed.gone.push(rankSlot);
      changed.new.push(cells);
      this.#rows.set(rankSlot, { owner, cells, lastEventAtMs, recorded });
    });
    for (const slot of this.#rows.keys()) {
      if (seen.has(slot)) continue;
      changed.gone.push(slot);
      this.#rows.delete(slot);
    }
    const grown = this.#models.size === modelsBefore ? {} : { models: [...this.#models.keys()] };
    return { delta: { ...changed, ...grown }, events, trusts };
  }

  /** Number of a model in the list. */
  modelNumber(model: string): number {
    const known = this.#models.get(model);
    if (known !== undefined) return known;
    const number = this.#models.size;
    this.#models.set(model, number);
    return number;
  }

  /** The list that was sent, as long as its numbers are the same. */
  #tiersOf(owner: RegisteredEngine, rankSlot: number): Cell {
    const tiers = this.#sources.tiersOf(owner, rankSlot);
    const before = this.#rows.get(rankSlot)?.cells[COLUMN.tiers];
    const isSame = Array.isArray(before) && tiers?.every((blocks, i) => blocks === before[i]) === true;
    return isSame ? before : tiers;
  }

  /** E4 */
  #rateOf(owner: RegisteredEngine, rankSlot: number): Cell {
    const known = this.#rows.get(rankSlot);
    return known?.owner === owner && !this.#isTurn(rankSlot, RATE_LOOKS)
      ? (known.cells[COLUMN.rate] ?? null)
      : this.#sources.rateOf(owner, rankSlot);
  }

  /** E4 */
  #exactHour(owner: RegisteredEngine, rankSlot: number, recorded: number, nowMs: number): Cell {
    const known = this.#rows.get(rankSlot);
    const isSame = known?.owner === owner && known.recorded === recorded;
    if (isSame && !this.#isTurn(rankSlot, SHARE_LOOKS)) return known.cells[COLUMN.exact_hour] ?? null;
    return exactShare(this.#sources.board.history.turns(rankSlot), nowMs);
  }

  #isTurn(rankSlot: number, looks: number): boolean {
    return (rankSlot + this.#looks) % looks === 0;
  }

  #rowOf(
    registered: RegisteredEngine,
    { dpRank, rankSlot }: RegisteredRank,
    recorded: number,
    nowMs: number,
  ): { readonly cells: Row; readonly lastEventAtMs: number | null } {
    const { engine } = registered;
    const { state, trust, trustReason, trustSinceMs, connected, lastEventAtMs } =
      this.#sources.board.status(rankSlot);
    const figures = this.#sources.board.figures(rankSlot);
    const cells: Record<(typeof COLUMNS)[number], Cell> = {
      slot: rankSlot,
      id: engine.id,
      model: this.modelNumber(engine.model),
      source: this.#sourceOf(engine.id),
      state: STREAM_STATES.indexOf(state),
      trust: TRUST_LEVELS.indexOf(trust),
      connected: connected ? 1 : 0,
      seq: figures.sequenceNumber,
      age_ms: lastEventAtMs === null ? null : Math.max(0, Math.round(nowMs - lastEventAtMs)),
      blocks: this.#sources.reader.rankBlockCount(rankSlot),
      gaps: figures.gaps,
      missed: figures.missed,
      replays: figures.replays,
      drops: figures.drops,
      restarts: figures.restarts,
      faults: figures.faults,
      rank: dpRank,
      reason: trustReason,
      since: trustSinceMs === null ? null : Math.round(trustSinceMs),
      tiers: this.#tiersOf(registered, rankSlot),
      rate: this.#rateOf(registered, rankSlot),
      exact_hour: this.#exactHour(registered, rankSlot, recorded, nowMs),
    };
    return { cells: Object.values(cells), lastEventAtMs };
  }
}

/** Adds what differs between a row as it was and as it is. */
function compare(
  { cells: before, lastEventAtMs: beforeMs }: KnownRow,
  after: Row,
  afterMs: number | null,
  changed: { readonly seq: [number, number][]; readonly set: [number, number, Cell][] },
): void {
  const slot = Number(after[COLUMN.slot]);
  const [seqBefore, seq] = [before[COLUMN.seq], after[COLUMN.seq]];
  const step = typeof seq === "number" && typeof seqBefore === "number" ? seq - seqBefore : 0;
  if (step > 0) changed.seq.push([slot, step]);
  for (let column = 0; column < after.length; column++) {
    const value = after[column] ?? null;
    // An age grows by itself, and a step of the number says that a message came.
    const isTold =
      column === COLUMN.age_ms ? step > 0 || afterMs === beforeMs : column === COLUMN.seq && step > 0;
    if (!isTold && value !== (before[column] ?? null)) changed.set.push([slot, column, value]);
  }
}
