/**
 * Slots for streams of several snapshot files in one index: two files use the same slots for
 * different workers.
 *
 *     file a: slot 0 = x, 1 = y   ─┐
 *     file b: slot 0 = z, 1 = x   ─┴─▶ x → 0, y → 1, z → 2, and their groups' slots after all ranks'
 *
 * Where the index has parts, each of its writers makes the same plan of all streams and takes its own share of them. The slots of
 * its groups are those of its part.
 *
 * The slots stand in three places of a stream: its own, those of its groups, and those of its
 * uncertain copies.
 *
 * Invariants (ingest/snapshot-workers.test.ts)
 *  J1  No two streams, and no two groups, have one slot.
 *  J2  A worker comes from one file as a whole: the first that has it.
 *  J4  Each stream is in the plan of one part, with the rank slot that it has in the plans of all.
 *  J3  Streams beyond the slots that there are get none: their ranks begin cold.
 */

import { HOLDER_SLOTS_MAX, type IndexPart, RANK_SLOTS_MAX, type StreamPosition } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";
import type { SlotPlan } from "./snapshot-file.ts";

/** Plans for one file after the other. */
export class SlotPlans {
  readonly #isWanted: (workerId: string) => boolean;
  readonly #part: IndexPart;
  readonly #taken = new Set<string>();
  #rankSlot = 0;
  #groupSlot: number;

  /**
   * @param isWanted - whether a worker's streams are taken at all.
   * @param part - the one that the plan is for.
   */
  constructor(isWanted: (workerId: string) => boolean, part: IndexPart = { number: 0, count: 1 }) {
    this.#isWanted = isWanted;
    this.#part = part;
    this.#groupSlot = RANK_SLOTS_MAX + part.number;
  }

  /**
   * Gives slots to the streams of a file that no file before had.
   *
   * @param streams - of its head.
   */
  next(streams: readonly SnapshotStream[]): SlotPlan {
    const fresh = streams.filter(({ workerId }) => this.#isWanted(workerId) && !this.#taken.has(workerId));
    const slots = new Map<number, number>();
    const planned = fresh.flatMap((stream) => this.#renamed(stream, slots) ?? []);
    for (const { workerId } of fresh) this.#taken.add(workerId);
    return { streams: planned, slots };
  }

  #renamed(stream: SnapshotStream, slots: Map<number, number>): SnapshotStream | null {
    const { number, count } = this.#part;
    if (this.#rankSlot >= RANK_SLOTS_MAX) return null;
    const rankSlot = this.#rankSlot++;
    if (rankSlot % count !== number) return null;
    const { groups } = stream.position.applier.groups;
    if (this.#groupSlot + count * (groups.length - 1) >= HOLDER_SLOTS_MAX) return null;
    slots.set(stream.rankSlot, rankSlot);
    for (const group of groups) {
      slots.set(group.slot, this.#groupSlot);
      this.#groupSlot += count;
    }
    return { ...stream, rankSlot, position: withSlots(stream.position, slots) };
  }
}

/**
 * A position in an index where holders have other slots.
 *
 * @param position - of a stream.
 * @param slots - the new ones, by the old ones; of the rank and of all its groups.
 */
export function withSlots(position: StreamPosition, slots: ReadonlyMap<number, number>): StreamPosition {
  const { groups } = position.applier.groups;
  const uncertainCopies = position.applier.uncertainCopies.flatMap(([old, ...name]) => {
    const slot = slots.get(old);
    return slot === undefined ? [] : [[slot, ...name] as const];
  });
  const renamed = groups.map((group) => ({ ...group, slot: slots.get(group.slot) ?? group.slot }));
  const applier = {
    ...position.applier,
    groups: { ...position.applier.groups, groups: renamed },
    uncertainCopies,
  };
  return { ...position, applier };
}
