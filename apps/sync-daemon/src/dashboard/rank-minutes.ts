/**
 * The last hour of each rank by the minute: events that were applied, and drops by reason. And its
 * present rate.
 *
 *     board ─each sample─▶ counts of the running minute's begin ─▶ ring of MINUTES ─▶ rates, growth in an hour
 *                     └──▶ counts of the last two samples ─▶ present rate
 *
 * Invariants
 *  M1  A ring has the count at the first sample of each of the latest MINUTES minutes. A minute without
 *      a sample has none, and the minute before it has no rate.
 *  M2  A rank of another engine in a slot begins again. A rank that is followed no more leaves.
 *  M3  A reason has a ring from the first sample on that finds a drop. There are at most DROP_RINGS_MAX
 *      rings. A rank that found no room gets no further ring: a later one would not know what came before.
 *  M4  The present rate is that of the time between the last sample and the one before the previous one.
 *
 * It runs with and without viewers, since a page that is opened later must show the hour.
 * Not here: sums over the fleet (sampler.ts), and totals (board/stream-board.ts).
 */

import { type BoardReader, type EventCounts, NOT_APPLIED_REASONS } from "../board/stream-board.ts";
import type { RegisteredEngine } from "../engine/engine-directory.ts";
import { type FleetSources, ranksOf } from "./fleet-sums.ts";

/** Minutes that are kept. */
export const MINUTES = 60;
const MINUTE_MS = 60_000;
/** Time between two samples: an engine that is new has its first count that soon. */
const SAMPLE_MS = 5000;
/** Two reasons for each of 2,048 ranks; 2 MB. */
const DROP_RINGS_MAX = 4096;
/** A shorter time has no rate. */
const RATE_MS_MIN = 1000;

/** Counts at the begins of the latest minutes. */
class MinuteRing {
  readonly #counts = new Float64Array(MINUTES).fill(Number.NaN);
  readonly #first: number;
  #latest: number;

  /**
   * @param minute - since the Unix epoch, at which it begins.
   * @param value - that is counted so far.
   */
  constructor(minute: number, value: number) {
    this.#first = minute;
    this.#latest = minute - 1;
    this.mark(minute, value);
  }

  /** M1; a minute that has a count keeps it. */
  mark(minute: number, value: number): void {
    for (let i = Math.max(this.#latest + 1, minute - MINUTES + 1); i < minute; i++)
      this.#counts[i % MINUTES] = Number.NaN;
    if (minute > this.#latest) this.#counts[minute % MINUTES] = value;
    this.#latest = Math.max(this.#latest, minute);
  }

  /** Count at the begin of a minute; NaN where there is none. */
  at(minute: number): number {
    const isKept = minute >= this.#first && minute <= this.#latest && minute > this.#latest - MINUTES;
    return isKept ? (this.#counts[minute % MINUTES] ?? Number.NaN) : Number.NaN;
  }

  /** What was counted since MINUTES - 1 minutes ago and in this one; everything when it is younger. */
  growth(minute: number, value: number): number {
    const oldest = minute - MINUTES + 1;
    if (this.#first >= oldest) return value;
    for (let i = oldest; i <= minute; i++) {
      const before = this.at(i);
      if (!Number.isNaN(before)) return Math.max(0, value - before);
    }
    return 0;
  }
}

/** A count, and when it was taken. */
interface Mark {
  readonly count: number;
  readonly atMs: number;
}

interface RankRings {
  readonly owner: RegisteredEngine;
  readonly events: MinuteRing;
  /** Of the last sample, and of the one before it (M4). */
  marks: readonly [Mark, Mark];
  rate: number | null;
  /** By position in NOT_APPLIED_REASONS. */
  readonly drops: Map<number, MinuteRing>;
  /** When the running minute's count was taken. */
  markedAtMs: number;
  minute: number;
  /** M3 */
  isFull: boolean;
}

/** The last hour of a rank, as it is sent. */
export interface RankHour {
  /** Of each minute, oldest first and the running one last; null where nothing is known. */
  readonly eventsPerSecond: readonly (number | null)[];
  /** By reason, those that occurred; null for a rank that found no room (M3). */
  readonly dropped: Readonly<Record<string, number>> | null;
}

/** See the head of this file. */
export class RankMinutes {
  readonly #sources: Pick<FleetSources, "registry" | "board">;
  readonly #ranks = new Map<number, RankRings>();
  readonly #drops = new Float64Array(NOT_APPLIED_REASONS.length);
  #dropRings = 0;
  #timer: NodeJS.Timeout | null = null;

  /** @param sources - the fleet. */
  constructor(sources: Pick<FleetSources, "registry" | "board">) {
    this.#sources = sources;
  }

  /** Rings of drops. */
  get dropRings(): number {
    return this.#dropRings;
  }

  /**
   * Samples from now on, the first time at once.
   *
   * @param now - milliseconds since the Unix epoch.
   */
  start(now: () => number): void {
    this.sample(now());
    this.#timer = setInterval(() => {
      this.sample(now());
    }, SAMPLE_MS);
    this.#timer.unref();
  }

  /** Ends that. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /**
   * Takes the counts of ranks that have none of this minute.
   *
   * @param nowMs - since the Unix epoch.
   */
  sample(nowMs: number): void {
    const minute = Math.floor(nowMs / MINUTE_MS);
    const seen = new Set<number>();
    for (const [owner, { rankSlot }] of ranksOf(this.#sources.registry)) {
      seen.add(rankSlot);
      const rings = this.#ringsOf(owner, rankSlot, nowMs);
      measure(rings, { count: sumOf(this.#sources.board.events(rankSlot)), atMs: nowMs });
      if (rings.minute < minute) this.#mark(rings, rankSlot, nowMs);
    }
    for (const slot of this.#ranks.keys()) if (!seen.has(slot)) this.#forget(slot);
  }

  /**
   * The last hour of a rank.
   *
   * @param owner - its engine.
   * @param rankSlot - its slot.
   * @param nowMs - since the Unix epoch.
   * @returns null before its first sample.
   */
  hour(owner: RegisteredEngine, rankSlot: number, nowMs: number): RankHour | null {
    const known = this.#ranks.get(rankSlot);
    if (known?.owner !== owner) return null;
    const { board } = this.#sources;
    const dropped: Record<string, number> = {};
    for (const [i, count] of dropsOf(board, rankSlot, this.#drops).entries()) {
      // Without a ring there was none at the latest sample.
      const grown = known.drops.get(i)?.growth(known.minute, count) ?? count;
      if (grown > 0) dropped[NOT_APPLIED_REASONS[i] ?? ""] = grown;
    }
    return {
      eventsPerSecond: ratesOf(known, sumOf(board.events(rankSlot)), nowMs),
      dropped: known.isFull ? null : dropped,
    };
  }

  /**
   * Events that a rank applied in each minute of the last hour.
   *
   * @param owner - its engine.
   * @param rankSlot - its slot.
   * @param nowMs - since the Unix epoch.
   * @returns per second, oldest first and the running minute last; null before its first sample.
   */
  rates(owner: RegisteredEngine, rankSlot: number, nowMs: number): readonly (number | null)[] | null {
    const known = this.#ranks.get(rankSlot);
    if (known?.owner !== owner) return null;
    return ratesOf(known, sumOf(this.#sources.board.events(rankSlot)), nowMs);
  }

  /**
   * Events that a rank applies at present (M4).
   *
   * @param owner - its engine.
   * @param rankSlot - its slot.
   * @returns per second, over about ten seconds; null before its second sample.
   */
  rate(owner: RegisteredEngine, rankSlot: number): number | null {
    const known = this.#ranks.get(rankSlot);
    return known?.owner === owner ? known.rate : null;
  }

  /** M2 */
  #ringsOf(owner: RegisteredEngine, rankSlot: number, nowMs: number): RankRings {
    const known = this.#ranks.get(rankSlot);
    if (known?.owner === owner) return known;
    this.#forget(rankSlot);
    const minute = Math.floor(nowMs / MINUTE_MS);
    const mark = { count: sumOf(this.#sources.board.events(rankSlot)), atMs: nowMs };
    const rings: RankRings = {
      owner,
      events: new MinuteRing(minute, mark.count),
      marks: [mark, mark],
      rate: null,
      drops: new Map(),
      markedAtMs: nowMs,
      minute,
      isFull: false,
    };
    this.#ranks.set(rankSlot, rings);
    this.#mark(rings, rankSlot, nowMs);
    return rings;
  }

  #mark(rings: RankRings, rankSlot: number, nowMs: number): void {
    const minute = Math.floor(nowMs / MINUTE_MS);
    const { board } = this.#sources;
    rings.minute = minute;
    rings.markedAtMs = nowMs;
    rings.events.mark(minute, sumOf(board.events(rankSlot)));
    for (const [i, count] of dropsOf(board, rankSlot, this.#drops).entries()) {
      const ring = rings.drops.get(i);
      if (ring !== undefined) ring.mark(minute, count);
      else if (count > 0) this.#begin(rings, i, minute, count);
    }
  }

  /** M3 */
  #begin(rings: RankRings, reason: number, minute: number, count: number): void {
    rings.isFull ||= this.#dropRings >= DROP_RINGS_MAX;
    if (rings.isFull) return;
    rings.drops.set(reason, new MinuteRing(minute, count));
    this.#dropRings += 1;
  }

  #forget(rankSlot: number): void {
    this.#dropRings -= this.#ranks.get(rankSlot)?.drops.size ?? 0;
    this.#ranks.delete(rankSlot);
  }
}

/** M4 */
function measure(rings: RankRings, mark: Mark): void {
  const [last, before] = rings.marks;
  const ms = mark.atMs - before.atMs;
  if (ms < RATE_MS_MIN) return;
  rings.rate = rateOf(mark.count - before.count, ms);
  rings.marks = [mark, last];
}

/** Per second, in tenths. */
function rateOf(count: number, ms: number): number {
  return Math.round((Math.max(0, count) / ms) * 10_000) / 10;
}

function ratesOf({ events, minute, markedAtMs }: RankRings, count: number, nowMs: number): (number | null)[] {
  return Array.from({ length: MINUTES }, (_, i) => {
    const at = minute - MINUTES + 1 + i;
    const isRunning = at === minute;
    const ms = isRunning ? nowMs - markedAtMs : MINUTE_MS;
    const grown = (isRunning ? count : events.at(at + 1)) - events.at(at);
    if (Number.isNaN(grown) || ms < RATE_MS_MIN) return null;
    return rateOf(grown, ms);
  });
}

function sumOf({ stored, removed, cleared }: EventCounts): number {
  return stored + removed + cleared;
}

function dropsOf(board: BoardReader, rankSlot: number, sums: Float64Array): Float64Array {
  sums.fill(0);
  board.addDrops(rankSlot, sums);
  return sums;
}
