/**
 * The latest decoded events of the few ranks that have a viewer, in shared memory. A thread that
 * ingests writes them, and the main thread reads them.
 *
 *     Float64 cells   ┌ ring of each rank slot, 0 for none ┬ ring 1 ┬ … ┬ ring WATCHES_MAX ┐
 *     a ring          ┌ published │ begun │ RING_EVENTS × (at, message, lag, what, blocks, tier, hash, adapter) ┐
 *
 * Events of a message are published together, when the message was applied: only then are its number
 * and its age known.
 *
 * Invariants
 *  T1  A rank without a viewer costs one load for each event, and nothing is written.
 *  T2  A reader never gets an entry that is half written, or overwritten while it was read. Events
 *      that it did not get are counted.
 *  T3  At most WATCHES_MAX ranks are watched. A ring that is given to another rank begins empty.
 *  T4  Of a hash an entry has 32 bits at most, and of an adapter's name LORA_BYTES. It has no token and
 *      no text. The sender of entries decides which viewers get the bits of a hash (dashboard/event-streams.ts).
 */

import {
  EVENT_DROP_REASONS,
  EVENT_TYPES,
  type DropReason,
  type EventAtHand,
  type EventType,
  FAULT_COSTS,
  MESSAGE_DROP_REASONS,
  RANK_SLOTS_MAX,
  type Tier,
} from "@kvsync/core";

/** Ranks that are watched at once. */
export const WATCHES_MAX = 8;
/** Events that a ring keeps: a busy engine's of about a second. */
export const RING_EVENTS = 512;

/** Bytes of an adapter's name that an entry has. */
const LORA_BYTES = 48;
const LORA_LENGTH = 7;
const LORA = 8;
const ENTRY_CELLS = LORA + LORA_BYTES / Float64Array.BYTES_PER_ELEMENT;
const PUBLISHED = 0;
const BEGUN = 1;
const ENTRIES = 2;
const RING_CELLS = ENTRIES + RING_EVENTS * ENTRY_CELLS;
/** Above every type: what is reason × TYPES + type, and reason 0 is none. */
const TYPES = 8;
/** An entry about a message as a whole. */
const MESSAGE = EVENT_TYPES.length;

const REASONS: readonly DropReason[] = [
  ...new Set([
    ...EVENT_DROP_REASONS,
    ...MESSAGE_DROP_REASONS,
    ...(Object.keys(FAULT_COSTS) as (keyof typeof FAULT_COSTS)[]),
  ]),
];
const CODE_OF_REASON: ReadonlyMap<DropReason, number> = new Map(REASONS.map((reason, i) => [reason, i + 1]));

/** Types of entries: those of events, and `message` for one that was dropped whole. */
const TAIL_TYPES = [...EVENT_TYPES, "message"] as const;

/** Bytes of shared memory; 0.5 MB, of which only watched rings are touched. */
export const EVENT_TAIL_BYTES = (RANK_SLOTS_MAX + WATCHES_MAX * RING_CELLS) * Float64Array.BYTES_PER_ELEMENT;

/** An event as it was applied, or not. */
export interface TailEvent {
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** Number of its message; null when the message was dropped before its number was known. */
  readonly sequenceNumber: number | null;
  /** From the engine's clock to this one; null likewise. */
  readonly lagMs: number | null;
  readonly type: (typeof TAIL_TYPES)[number];
  readonly blocks: number;
  /** Why it was not applied; null when it was. */
  readonly reason: DropReason | null;
  /** Null where its medium is none. */
  readonly tier: Tier | null;
  /** The beginning of the adapter's name; null without one. */
  readonly lora: string | null;
  /** The upper 32 bits of its first block's hash; null without a block. */
  readonly hashHigh: number | null;
}

/** The side of the thread that ingests. */
export class EventTailWriter {
  readonly #cells: Float64Array;
  readonly #bytes: Uint8Array;

  /** @param cells - of EVENT_TAIL_BYTES. */
  constructor(cells: Float64Array) {
    this.#cells = cells;
    this.#bytes = bytesOf(cells);
  }

  /**
   * Writes an event, if its rank is watched (T1).
   *
   * @param rankSlot - of the rank.
   * @param atMs - since the Unix epoch; asked only when it is needed.
   * @param type - of the event; `message` for all of a message.
   * @param blocks - of the event.
   * @param reason - why it was dropped; null when it was applied.
   * @param atHand - the event itself; asked only when it is needed.
   */
  event(
    rankSlot: number,
    atMs: () => number,
    type: EventType | "message",
    blocks: number,
    reason: DropReason | null,
    atHand: () => EventAtHand | null = () => null,
  ): void {
    const ring = this.#cells[rankSlot] ?? 0;
    if (ring === 0) return;
    const cells = this.#cells;
    const first = ringAt(ring);
    const begun = cells[first + BEGUN] ?? 0;
    // Before the entry: a reader passes over what is being overwritten (T2).
    cells[first + BEGUN] = begun + 1;
    const at = first + ENTRIES + (begun % RING_EVENTS) * ENTRY_CELLS;
    const code = type === "message" ? MESSAGE : EVENT_TYPES.indexOf(type);
    cells[at] = atMs();
    cells[at + 1] = Number.NaN;
    cells[at + 2] = Number.NaN;
    cells[at + 3] = (reason === null ? 0 : (CODE_OF_REASON.get(reason) ?? 0)) * TYPES + code;
    cells[at + 4] = blocks;
    const { tier, loraName, hashHigh } = atHand() ?? NOTHING;
    cells[at + 5] = tier ?? Number.NaN;
    cells[at + 6] = hashHigh ?? Number.NaN;
    cells[at + LORA_LENGTH] = loraName === null ? Number.NaN : this.#writeName(at, loraName);
  }

  /** Writes the beginning of a name; returns its length in bytes. */
  #writeName(at: number, name: string): number {
    const bytes = Buffer.from(name).subarray(0, LORA_BYTES);
    this.#bytes.set(bytes, (at + LORA) * Float64Array.BYTES_PER_ELEMENT);
    return bytes.length;
  }

  /**
   * A message was applied: its events can be read from now on.
   *
   * @param rankSlot - of the rank.
   * @param sequenceNumber - of the message; null when it is not known.
   * @param lagMs - from the engine's clock to this one; asked only when it is needed.
   */
  publish(rankSlot: number, sequenceNumber: number | null, lagMs: () => number): void {
    const ring = this.#cells[rankSlot] ?? 0;
    if (ring === 0) return;
    const cells = this.#cells;
    const first = ringAt(ring);
    const begun = cells[first + BEGUN] ?? 0;
    const published = cells[first + PUBLISHED] ?? 0;
    const lag = lagMs();
    for (let i = Math.max(published, begun - RING_EVENTS); i < begun; i++) {
      const at = first + ENTRIES + (i % RING_EVENTS) * ENTRY_CELLS;
      cells[at + 1] = sequenceNumber ?? Number.NaN;
      cells[at + 2] = lag;
    }
    cells[first + PUBLISHED] = begun;
  }
}

/** The side of the main thread: who watches, and what they see. */
export class EventTailReader {
  readonly #cells: Float64Array;
  /** Watchers of each ring, by its number less one. */
  readonly #watchers = new Array<number>(WATCHES_MAX).fill(0);

  /** @param cells - of EVENT_TAIL_BYTES. */
  constructor(cells: Float64Array) {
    this.#cells = cells;
  }

  /**
   * Watches a rank from now on.
   *
   * @param rankSlot - of the rank.
   * @returns what it does from now on; null when WATCHES_MAX other ranks are watched (T3).
   */
  watch(rankSlot: number): RankTail | null {
    const cells = this.#cells;
    let ring = cells[rankSlot] ?? 0;
    if (ring === 0) {
      ring = this.#watchers.indexOf(0) + 1;
      if (ring === 0) return null;
      const first = ringAt(ring);
      cells[first + PUBLISHED] = 0;
      cells[first + BEGUN] = 0;
      cells[rankSlot] = ring;
    }
    this.#watchers[ring - 1] = (this.#watchers[ring - 1] ?? 0) + 1;
    return new RankTail(cells, ring, () => {
      const left = (this.#watchers[ring - 1] ?? 1) - 1;
      this.#watchers[ring - 1] = left;
      if (left === 0) cells[rankSlot] = 0;
    });
  }
}

/** A rank's events from a moment on. */
export class RankTail {
  readonly #cells: Float64Array;
  readonly #bytes: Uint8Array;
  readonly #first: number;
  #leave: (() => void) | null;
  #next: number;

  /**
   * @param cells - of all rings.
   * @param ring - number of the rank's ring.
   * @param leave - called once, at the end.
   */
  constructor(cells: Float64Array, ring: number, leave: () => void) {
    this.#cells = cells;
    this.#bytes = bytesOf(cells);
    this.#first = ringAt(ring);
    this.#leave = leave;
    this.#next = cells[this.#first + PUBLISHED] ?? 0;
  }

  /**
   * What came since the last call.
   *
   * @param max - events at most; the latest.
   * @returns oldest first, and how many there were beside them (T2).
   */
  read(max: number): { readonly events: TailEvent[]; readonly leftOut: number } {
    const cells = this.#cells;
    const until = cells[this.#first + PUBLISHED] ?? 0;
    const from = Math.max(this.#next, until - Math.min(max, RING_EVENTS));
    const read = Array.from({ length: Math.max(0, until - from) }, (_, i) => this.#entry(from + i));
    const oldest = (cells[this.#first + BEGUN] ?? 0) - RING_EVENTS;
    const events = read.slice(Math.max(0, oldest - from));
    const leftOut = until - this.#next - events.length;
    this.#next = until;
    return { events, leftOut: Math.max(0, leftOut) };
  }

  /** Watches no more. */
  end(): void {
    this.#leave?.();
    this.#leave = null;
  }

  #entry(number: number): TailEvent {
    const at = this.#first + ENTRIES + (number % RING_EVENTS) * ENTRY_CELLS;
    const cell = (i: number): number => this.#cells[at + i] ?? 0;
    const known = (i: number): number | null => (Number.isNaN(cell(i)) ? null : cell(i));
    const what = cell(3);
    return {
      atMs: cell(0),
      sequenceNumber: known(1),
      lagMs: known(2),
      type: TAIL_TYPES[what % TYPES] ?? "unknown",
      blocks: cell(4),
      reason: REASONS[Math.floor(what / TYPES) - 1] ?? null,
      tier: known(5) as Tier | null,
      lora: this.#name(at, known(LORA_LENGTH)),
      hashHigh: known(6),
    };
  }

  /** A copy: a name that was cut within a letter ends with a sign for that. */
  #name(at: number, length: number | null): string | null {
    if (length === null) return null;
    const first = (at + LORA) * Float64Array.BYTES_PER_ELEMENT;
    return Buffer.from(this.#bytes.subarray(first, first + length)).toString();
  }
}

/** What is written of an event that is none of a message. */
const NOTHING: EventAtHand = { tier: null, loraName: null, hashHigh: null };

function bytesOf(cells: Float64Array): Uint8Array {
  return new Uint8Array(cells.buffer, cells.byteOffset, cells.byteLength);
}

function ringAt(ring: number): number {
  return RANK_SLOTS_MAX + (ring - 1) * RING_CELLS;
}
