/**
 * The engines in a thread that answers: a copy of the registry that lags behind it, and shows where that matters.
 *
 *     changes of the main thread ─▶ engines by name ─▶ lookups
 *     number of each slot (slot-incarnations.ts) ─▶ isCurrent: are these blocks still this rank's?
 *
 *  D1  After a batch the copy has what the registry had when the batch was made (directory-copy.test.ts "D1").
 *
 * Not here: the list of changes (engine-changes.ts), and the order of batches (picker/engine-feed.ts).
 */

import type { RegisteredEngine } from "./engine-directory.ts";
import type { Engine } from "./engine-entry.ts";
import { FleetDirectory } from "./fleet-directory.ts";
import { SlotIncarnations } from "./slot-incarnations.ts";

/** News of one engine, as it is now. */
export interface EngineChange {
  readonly id: string;
  /** Null when it is gone, or another daemon's. */
  readonly registered: RegisteredEngine | null;
  /** The entry of one that another shard follows; null otherwise. */
  readonly elsewhere: Engine | null;
  /** Of its rank slots, in the order of the ranks. */
  readonly incarnations: readonly number[];
}

interface Copied {
  readonly registered: RegisteredEngine;
  readonly incarnations: readonly number[];
}

/** See the header. */
export class DirectoryCopy extends FleetDirectory {
  readonly #engines = new Map<string, Copied>();
  readonly #incarnations: SlotIncarnations;

  /** @param incarnations - memory of the registry's. */
  constructor(incarnations: SharedArrayBuffer) {
    super();
    this.#incarnations = new SlotIncarnations(incarnations);
  }

  /** Takes a batch. */
  apply(changes: readonly EngineChange[]): void {
    for (const { id, registered, elsewhere, incarnations } of changes) {
      this.others.set(id, elsewhere);
      const before = this.#engines.get(id);
      if (before !== undefined) this.own.remove(before.registered);
      this.#engines.delete(id);
      if (registered === null) continue;
      this.#engines.set(id, { registered, incarnations });
      this.own.add(registered);
    }
  }

  /** Engines that it knows, those of other shards left out. */
  get engineCount(): number {
    return this.#engines.size;
  }

  /** An engine of another shard; null for any other id. */
  engineElsewhere(id: string): Engine | null {
    return this.others.engine(id);
  }

  /**
   * Whether what a lookup has just found at this rank's slot was the rank's. To be asked after the lookup.
   *
   * @param id - of an engine.
   * @param dpRank - of a rank of it.
   */
  isCurrent(id: string, dpRank: number): boolean {
    const copied = this.#engines.get(id);
    if (copied === undefined) return false;
    const i = copied.registered.ranks.findIndex((rank) => rank.dpRank === dpRank);
    const rank = copied.registered.ranks[i];
    return rank !== undefined && this.#incarnations.of(rank.rankSlot) === copied.incarnations[i];
  }
}
