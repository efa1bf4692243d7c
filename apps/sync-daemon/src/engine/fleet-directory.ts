/**
 * The engines of a fleet by the names that lookups give: those that are followed here, and those of other shards.
 *
 *     followed here ─▶ own ───────┐
 *     other shards ──▶ elsewhere ─┴─▶ models and adapters of all; engines, with their slots, of the own ones only
 *
 *  F1  A model that only other shards serve has no engines here, and is known (engine-registry.test.ts, directory-copy.test.ts).
 *
 * Not here: which engines there are. The registry decides (engine-registry.ts), and threads have a copy (directory-copy.ts).
 */

import { type EngineDirectory, EngineNames, NO_ENGINES, type RegisteredEngine } from "./engine-directory.ts";
import { NamesElsewhere } from "./names-elsewhere.ts";

/** See the header. */
export class FleetDirectory implements EngineDirectory {
  protected readonly own: EngineNames = new EngineNames();
  protected readonly others: NamesElsewhere = new NamesElsewhere();

  /** {@inheritDoc EngineDirectory.models} */
  models(): IterableIterator<string> {
    return this.own.models();
  }

  /** {@inheritDoc EngineDirectory.enginesOf} */
  enginesOf(model: string): ReadonlySet<RegisteredEngine> | null {
    return this.own.enginesOf(model) ?? (this.others.hasModel(model) ? NO_ENGINES : null);
  }

  /** {@inheritDoc EngineDirectory.enginesWithAlias} */
  enginesWithAlias(alias: string): ReadonlySet<RegisteredEngine> {
    return this.own.enginesWithAlias(alias);
  }

  /** {@inheritDoc EngineDirectory.modelsWithAlias} */
  modelsWithAlias(alias: string): ReadonlySet<string> {
    return new Set([...this.own.modelsWithAlias(alias), ...this.others.modelsWithAlias(alias)]);
  }

  /** {@inheritDoc EngineDirectory.modelsWithAdapter} */
  modelsWithAdapter(loraName: string): ReadonlySet<string> {
    return new Set([...this.own.modelsWithAdapter(loraName), ...this.others.modelsWithAdapter(loraName)]);
  }
}
