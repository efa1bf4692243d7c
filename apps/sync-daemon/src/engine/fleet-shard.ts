/**
 * The part of the fleet that this daemon follows: the workers that rendezvous hashing gives to its
 * shard (core, shard-of.ts).
 *
 *     worker id ─▶ shardOf(id, count) ─▶ index of this daemon?
 *
 * With one shard it owns every worker. Not here: which shard a daemon is (settings/own-shard.ts).
 */

import { shardOf } from "@kvsync/core";

/** One shard of a fleet. */
export class FleetShard {
  readonly index: number;
  readonly count: number;

  /**
   * @param index - from 0, below `count`.
   * @param count - of shards.
   */
  constructor(index: number, count: number) {
    this.index = index;
    this.count = count;
  }

  /** Whether the fleet has more than this shard. */
  get isPart(): boolean {
    return this.count > 1;
  }

  /**
   * Whether this shard follows a worker.
   *
   * @param workerId - the engine's id.
   */
  owns(workerId: string): boolean {
    return !this.isPart || shardOf(workerId, this.count) === this.index;
  }
}

/** A fleet that one daemon follows. */
export const WHOLE_FLEET: FleetShard = new FleetShard(0, 1);
