/**
 * Engines by the names that lookups give, in any thread.
 *
 *     model, alias, adapter ─▶ engines with their rank slots
 */

import type { Engine } from "./engine-entry.ts";

/** A DP rank with its slot. */
export interface RegisteredRank {
  readonly dpRank: number;
  readonly rankSlot: number;
}

/** An engine with its slots. */
export interface RegisteredEngine {
  readonly engine: Engine;
  /** In the order of the engine's ranks. */
  readonly ranks: readonly RegisteredRank[];
}

/** What a lookup needs to know of engines. */
export interface EngineDirectory {
  /** Every model with at least one engine. */
  models(): IterableIterator<string>;
  /**
   * The engines of a model.
   *
   * @param model - its name.
   * @returns null when no engine serves it; none when only engines of other shards do.
   */
  enginesOf(model: string): ReadonlySet<RegisteredEngine> | null;
  /**
   * The engines that serve their model under this further name.
   *
   * @param alias - the name.
   * @returns none when no engine does.
   */
  enginesWithAlias(alias: string): ReadonlySet<RegisteredEngine>;
  /**
   * The models that are served under this further name, by engines of other shards too.
   *
   * @param alias - the name.
   */
  modelsWithAlias(alias: string): ReadonlySet<string>;
  /**
   * The models of the engines whose entries name this adapter, those of other shards too.
   *
   * @param loraName - the adapter's name.
   */
  modelsWithAdapter(loraName: string): ReadonlySet<string>;
}

/** Of a name that no engine has. */
export const NO_ENGINES: ReadonlySet<RegisteredEngine> = new Set();

/** Engines by all of their names. */
export class EngineNames implements EngineDirectory {
  readonly #byModel = new NamedEngines();
  /** By each further name of a model, and by each adapter that an entry names. */
  readonly #byAlias = new NamedEngines();
  readonly #byAdapter = new NamedEngines();

  /** Adds an engine. */
  add(registered: RegisteredEngine): void {
    const { model, aliases, adapters } = registered.engine;
    this.#byModel.add([model], registered);
    this.#byAlias.add(aliases, registered);
    this.#byAdapter.add(adapters, registered);
  }

  /** Removes an engine, the same object that was added. */
  remove(registered: RegisteredEngine): void {
    const { model, aliases, adapters } = registered.engine;
    this.#byModel.remove([model], registered);
    this.#byAlias.remove(aliases, registered);
    this.#byAdapter.remove(adapters, registered);
  }

  /** Models with at least one engine. */
  get modelCount(): number {
    return this.#byModel.size;
  }

  /** {@inheritDoc EngineDirectory.models} */
  models(): IterableIterator<string> {
    return this.#byModel.names();
  }

  /** {@inheritDoc EngineDirectory.enginesOf} */
  enginesOf(model: string): ReadonlySet<RegisteredEngine> | null {
    return this.#byModel.of(model);
  }

  /** {@inheritDoc EngineDirectory.enginesWithAlias} */
  enginesWithAlias(alias: string): ReadonlySet<RegisteredEngine> {
    return this.#byAlias.of(alias) ?? NO_ENGINES;
  }

  /** {@inheritDoc EngineDirectory.modelsWithAlias} */
  modelsWithAlias(alias: string): ReadonlySet<string> {
    return modelsOf(this.enginesWithAlias(alias));
  }

  /** {@inheritDoc EngineDirectory.modelsWithAdapter} */
  modelsWithAdapter(loraName: string): ReadonlySet<string> {
    return modelsOf(this.#byAdapter.of(loraName) ?? NO_ENGINES);
  }
}

function modelsOf(engines: ReadonlySet<RegisteredEngine>): ReadonlySet<string> {
  return new Set([...engines].map(({ engine }) => engine.model));
}

/** Engines by names that several may have; a name that none has any more is not kept. */
class NamedEngines {
  readonly #engines = new Map<string, Set<RegisteredEngine>>();

  get size(): number {
    return this.#engines.size;
  }

  names(): IterableIterator<string> {
    return this.#engines.keys();
  }

  add(names: readonly string[], engine: RegisteredEngine): void {
    for (const name of names) {
      const named = this.#engines.get(name) ?? new Set();
      this.#engines.set(name, named.add(engine));
    }
  }

  remove(names: readonly string[], engine: RegisteredEngine): void {
    for (const name of names) {
      const named = this.#engines.get(name);
      named?.delete(engine);
      if (named?.size === 0) this.#engines.delete(name);
    }
  }

  of(name: string): ReadonlySet<RegisteredEngine> | null {
    return this.#engines.get(name) ?? null;
  }
}
