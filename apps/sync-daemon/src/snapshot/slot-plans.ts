/**
 * Slots for streams of several snapshot files in one index: two files use the same slots for
 * different workers.
 *
 *     file a: slot 0 = x, 1 = y   ─┐
 *     file b: slot 0 = z, 1 = x   ─┴─▶ x → 0, y → 1, z → 2, and their groups' slots after all ranks'
 *
 * The slots stand in three places of a stream: its own, those of its groups, and those of its
 * uncertain copies.
 *
 * Invariants (ingest/snapshot-workers.test.ts)
 *  J1  No two streams, and no two groups, have one slot.
 *  J2  A worker comes from one file as a whole: the first that has it.
 *  J3  Streams beyond the slots that there are get none: their ranks begin cold.
 */

import { HOLDER_SLOTS_MAX, RANK_SLOTS_MAX } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";
import type { SlotPlan } from "./snapshot-file.ts";

/** Plans for one file after the other. */
export class SlotPlans {
  readonly #isWanted: (workerId: string) => boolean;
  readonly #taken = new Set<string>();
  #rankSlot = 0;
  #groupSlot: number = RANK_SLOTS_MAX;

  /** @param isWanted - whether a worker's streams are taken at all. */
  constructor(isWanted: (workerId: string) => boolean) {
    this.#isWanted = isWanted;
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
    const { position } = stream;
    const { groups } = position.applier.groups;
    const hasRoom = this.#rankSlot < RANK_SLOTS_MAX && this.#groupSlot + groups.length <= HOLDER_SLOTS_MAX;
    if (!hasRoom) return null;
    const rankSlot = this.#rankSlot++;
    slots.set(stream.rankSlot, rankSlot);
    const renamed = groups.map((group) => {
      const slot = this.#groupSlot++;
      slots.set(group.slot, slot);
      return { ...group, slot };
    });
    const uncertainCopies = position.applier.uncertainCopies.flatMap(([old, ...name]) => {
      const slot = slots.get(old);
      return slot === undefined ? [] : [[slot, ...name] as const];
    });
    const applier = {
      ...position.applier,
      groups: { ...position.applier.groups, groups: renamed },
      uncertainCopies,
    };
    return { ...stream, rankSlot, position: { ...position, applier } };
  }
}
