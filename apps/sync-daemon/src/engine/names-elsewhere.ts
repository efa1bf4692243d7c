/**
 * Engines that other daemons follow. By their names a lookup means the same model at every shard of a
 * fleet, and by their entries a picker can send requests there.
 *
 *     engines of other shards ─┬─▶ model, alias, adapter ─▶ models, each with its number of engines
 *                              └─▶ by id ─▶ entry
 *
 * A lookup costs nothing for engines that are followed elsewhere: it reads names and numbers only.
 */

import type { Engine } from "./engine-entry.ts";

const NO_MODELS: ReadonlyMap<string, number> = new Map();

/** See the head of this file. */
export class NamesElsewhere {
  readonly #engines = new Map<string, Engine>();
  readonly #models = new Map<string, number>();
  readonly #aliases = new Map<string, Map<string, number>>();
  readonly #adapters = new Map<string, Map<string, number>>();

  /**
   * Takes all engines of other shards, in place of those before.
   *
   * @param engines - with ids of their own; one that did not change is best given as the same object.
   * @returns the ids of those that came, went or changed.
   */
  state(engines: readonly Engine[]): readonly string[] {
    const changed: string[] = [];
    const ids = new Set(engines.map(({ id }) => id));
    for (const id of this.#engines.keys()) if (!ids.has(id)) changed.push(id);
    for (const id of changed) this.set(id, null);
    for (const engine of engines) {
      if (this.#engines.get(engine.id) === engine) continue;
      this.set(engine.id, engine);
      changed.push(engine.id);
    }
    return changed;
  }

  /**
   * Takes what is known of one engine, in place of what was known before.
   *
   * @param id - the engine's.
   * @param engine - null when it is gone.
   */
  set(id: string, engine: Engine | null): void {
    const known = this.#engines.get(id);
    if (known !== undefined) this.#remove(known);
    if (engine !== null) this.#add(engine);
  }

  /** An engine by its id; null for one that is not elsewhere. */
  engine(id: string): Engine | null {
    return this.#engines.get(id) ?? null;
  }

  /** All of them. */
  engines(): IterableIterator<Engine> {
    return this.#engines.values();
  }

  /** How many there are. */
  get engineCount(): number {
    return this.#engines.size;
  }

  /** Whether an engine elsewhere serves a model. */
  hasModel(model: string): boolean {
    return this.#models.has(model);
  }

  /** The models that are served under a further name. */
  modelsWithAlias(alias: string): Iterable<string> {
    return (this.#aliases.get(alias) ?? NO_MODELS).keys();
  }

  /** The models whose entries name an adapter. */
  modelsWithAdapter(loraName: string): Iterable<string> {
    return (this.#adapters.get(loraName) ?? NO_MODELS).keys();
  }

  #add(engine: Engine): void {
    const { id, model, aliases, adapters } = engine;
    this.#engines.set(id, engine);
    count(this.#models, model, 1);
    for (const alias of aliases) countIn(this.#aliases, alias, model, 1);
    for (const adapter of adapters) countIn(this.#adapters, adapter, model, 1);
  }

  #remove(engine: Engine): void {
    const { id, model, aliases, adapters } = engine;
    this.#engines.delete(id);
    count(this.#models, model, -1);
    for (const alias of aliases) countIn(this.#aliases, alias, model, -1);
    for (const adapter of adapters) countIn(this.#adapters, adapter, model, -1);
  }
}

/** What no engine has any more is not kept. */
function count(counts: Map<string, number>, name: string, by: 1 | -1): void {
  const sum = (counts.get(name) ?? 0) + by;
  if (sum === 0) counts.delete(name);
  else counts.set(name, sum);
}

function countIn(names: Map<string, Map<string, number>>, name: string, model: string, by: 1 | -1): void {
  const counts = names.get(name) ?? new Map<string, number>();
  names.set(name, counts);
  count(counts, model, by);
  if (counts.size === 0) names.delete(name);
}
