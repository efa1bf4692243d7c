/**
 * The engines that have changed since another thread last got a list, for its copy of the registry.
 *
 *     registry ──onChange──▶ ids ──take──▶ each engine as it is now ──▶ directory-copy.ts
 *
 *  C1  Engines that were there before count as changed, those of other shards too (engine-changes.test.ts "C1").
 *  C2  Each engine is listed once, with what the registry has when the list is taken (engine-changes.test.ts "C2").
 *
 * Not here: the way to the thread (picker/engine-feed.ts, lookup-threads/lookup-threads.ts).
 */

import type { EngineChange } from "./directory-copy.ts";
import type { EngineRegistry } from "./engine-registry.ts";

/** See the header. One per thread that has a copy. */
export class EngineChanges {
  readonly #registry: EngineRegistry;
  readonly #ids: Set<string>;

  /**
   * @param registry - whose engines change.
   * @param changed - called after each change.
   */
  constructor(registry: EngineRegistry, changed: () => void = () => undefined) {
    this.#registry = registry;
    const followed = [...registry.engines()].map(({ engine }) => engine.id);
    this.#ids = new Set([...followed, ...[...registry.elsewhere.engines()].map(({ id }) => id)]);
    registry.onChange((id) => {
      this.#ids.add(id);
      changed();
    });
  }

  /** Engines that have changed. */
  get count(): number {
    return this.#ids.size;
  }

  /** The changes since the last call. */
  take(): EngineChange[] {
    if (this.#ids.size === 0) return [];
    const { incarnations } = this.#registry;
    const changes = [...this.#ids].map((id): EngineChange => {
      const registered = this.#registry.engine(id);
      const numbers = registered?.ranks.map(({ rankSlot }) => incarnations.of(rankSlot)) ?? [];
      return { id, registered, elsewhere: this.#registry.elsewhere.engine(id), incarnations: numbers };
    });
    this.#ids.clear();
    return changes;
  }
}
