/**
 * Sends the picker's thread the engines and endpoints, from the main thread.
 *
 *     registry, pool ──change──▶ noted ──nothing is on its way──▶ one batch ──▶ thread
 *                                  ▲                                             │ taken
 *                                  └──────────── the next batch ◀────────────────┘
 *
 *  F1  At most one batch is on its way. The next one has each engine once (engine-feed.test.ts "F1").
 *  F2  A batch has what the registry has when it is sent (engine-feed.test.ts "F2").
 *  F3  Engines of other shards are endpoints like those that are followed here (engine-feed.test.ts "F3").
 *
 * Not here: the copy in the thread (engine/directory-copy.ts).
 */

import type { EngineChange } from "../engine/directory-copy.ts";
import { EngineChanges } from "../engine/engine-changes.ts";
import type { Engine } from "../engine/engine-entry.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { PoolEngine, PoolStanding } from "./endpoint-fleet.ts";

/** All endpoints there are. */
export interface PoolNews {
  readonly engines: readonly PoolEngine[];
  readonly standing: PoolStanding;
}

/** What has changed. */
export interface EngineBatch {
  readonly changes: readonly EngineChange[];
  /** Null when the endpoints are as before, or not known yet. */
  readonly pool: PoolNews | null;
}

/** See the header. */
export class EngineFeed {
  readonly #registry: EngineRegistry;
  readonly #send: (batch: EngineBatch) => void;
  /** Whether the engines' own addresses are the endpoints. */
  readonly #isOwnPool: boolean;
  readonly #changes: EngineChanges;
  #pool: PoolNews | null = null;
  #isPoolDue: boolean;
  #isOnItsWay = false;
  #isPlanned = false;

  /**
   * @param registry - whose engines are told.
   * @param isOwnPool - whether its engines' own addresses are the endpoints. Otherwise `pool` gives them.
   * @param send - to the thread.
   */
  constructor(registry: EngineRegistry, isOwnPool: boolean, send: (batch: EngineBatch) => void) {
    this.#registry = registry;
    this.#isOwnPool = isOwnPool;
    this.#send = send;
    this.#isPoolDue = isOwnPool;
    this.#changes = new EngineChanges(registry, () => {
      this.#isPoolDue ||= isOwnPool;
      this.#plan();
    });
    this.#plan();
  }

  /** The endpoints are these now. */
  pool(news: PoolNews): void {
    this.#pool = news;
    this.#isPoolDue = true;
    this.#plan();
  }

  /** The thread has taken the batch that was on its way. */
  taken(): void {
    this.#isOnItsWay = false;
    this.#plan();
  }

  /** Sends what has changed, when the changes of this turn are all made. */
  #plan(): void {
    const isDue = this.#changes.count > 0 || this.#isPoolDue;
    if (!isDue || this.#isOnItsWay || this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      this.#isOnItsWay = true;
      this.#send(this.#batch());
    });
  }

  #batch(): EngineBatch {
    const changes = this.#changes.take();
    const pool = !this.#isPoolDue ? null : this.#isOwnPool ? this.#ownPool() : this.#pool;
    this.#isPoolDue = false;
    return { changes, pool };
  }

  #ownPool(): PoolNews {
    const engines = enginesIn(this.#registry)
      .filter(({ http }) => http.length > 0)
      .map(({ id, model, ranks, http }) => ({
        id,
        model,
        ranks: ranks.map(({ dpRank }) => ({ dpRank })),
        http,
      }));
    return { engines, standing: { notReady: 0, isStale: false } };
  }
}

/** Engines of the whole fleet: those that are followed here first. */
function enginesIn(registry: EngineRegistry): readonly Engine[] {
  return [...[...registry.engines()].map(({ engine }) => engine), ...registry.elsewhere.engines()];
}
