/**
 * The endpoints of an InferencePool, watched in its cluster.
 *
 *     ApiServer ─▶ pools of the namespace ─▶ the one of the name ─▶ pods by its selector ─┐
 *     engines that publish events ─────────────────────────────────────────────────────┴─▶ members ─▶ changed
 *
 *  O1  Nothing is reported before the pool and its pods were listed once (picker-pool.test.ts "O1").
 *  O2  A pool that is deleted, unusable or cannot be read keeps its last endpoints, as stale
 *      (picker-pool.test.ts "O2").
 *  O3  A pool with another selector keeps its endpoints until the pods of the new one were listed
 *      (picker-pool.test.ts "O3").
 *  O4  Only what differs is reported (picker-pool.test.ts "O4").
 *
 * Not here: which pods are engines (discovery), reading pods (pool-members.ts).
 */
import type { ApiError } from "../discovery/kubernetes/api-error.ts";
import { ApiServer } from "../discovery/kubernetes/api-server.ts";
import type { CredentialReader } from "../discovery/kubernetes/credentials.ts";
import { type PoolReading, poolsIn } from "../discovery/kubernetes/inference-pool.ts";
import type { Resource, ResourceKind } from "../discovery/kubernetes/resource-stream.ts";
import { ResourceWatch, type WatchTimes } from "../discovery/kubernetes/resource-watch.ts";
import type { PoolEngine, PoolStanding } from "./endpoint-fleet.ts";
import { type KnownEngine, membersOf, POOL_PODS, PORTS_ANNOTATION, type PoolPod } from "./pool-members.ts";

/** Which pool, and where. */
export interface PoolSourceSettings {
  readonly name: string;
  /** Null for the account's own. */
  readonly namespace: string | null;
  readonly group: string;
  readonly credentials: CredentialReader;
  readonly times: WatchTimes;
}

/** Hears of the pool. */
interface PoolListener {
  /** These are the endpoints now. */
  changed(engines: readonly PoolEngine[], standing: PoolStanding): void;
  /** The endpoints may be others by now, and why; once until they are current. */
  stale(message: string): void;
  /** They are up to date again, or for the first time. */
  current(): void;
  /** A pod's annotation cannot be used; once per pod and time that it becomes so. */
  unusable(message: string): void;
}

/** What a source works with. */
export interface PoolSourceParts {
  /** The engine of an id; null for a pod that publishes no events. */
  readonly engineOf: (id: string) => KnownEngine | null;
  readonly listener: PoolListener;
}

/** The watch of a pool's pods. */
interface PodsWatch {
  readonly selector: string;
  readonly ending: AbortController;
}

/** See the header. */
export class PoolSource {
  readonly #settings: PoolSourceSettings;
  readonly #parts: PoolSourceParts;
  readonly #ending = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #api: ApiServer | null = null;
  #pool: PoolReading | null = null;
  #podsWatch: PodsWatch | null = null;
  /** Of the pool as it was last usable; null before the first list. */
  #pods: ReadonlyMap<string, PoolPod> | null = null;
  /** Why a watch fails, or the pool cannot be used; by what fails. */
  readonly #failures = new Map<"pool" | "pools" | "pods", string>();
  #isCurrent: boolean | null = null;
  #reported = "";
  #unusable: ReadonlySet<string> = new Set();
  #isPlanned = false;

  /** @param settings - which pool. */
  constructor(settings: PoolSourceSettings, parts: PoolSourceParts) {
    this.#settings = settings;
    this.#parts = parts;
  }

  /** Watches until `stop`. */
  start(): void {
    this.#track(this.#run());
  }

  /** Resolves when no request is open any more. */
  async stop(): Promise<void> {
    this.#ending.abort();
    while (this.#running.size > 0) await Promise.race(this.#running);
  }

  /** Engines have come, gone or changed: many at a time, so all of a turn are one. */
  enginesChanged(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      if (!this.#ending.signal.aborted) this.#report();
    });
  }

  async #run(): Promise<void> {
    const { credentials, group, times } = this.#settings;
    this.#api = await ApiServer.openLater(credentials, {
      pauseMs: times.pauseMsMax,
      signal: this.#ending.signal,
      failed: (error) => {
        this.#fail("pools", error.message);
      },
    });
    if (this.#api === null) return;
    await this.#watch("pools", poolsIn(group), null, this.#ending.signal, (pools) => {
      this.#take(pools);
    });
  }

  get #id(): string {
    const { name, namespace } = this.#settings;
    return `${namespace ?? this.#api?.namespace ?? ""}/${name}`;
  }

  /** The pools of the namespace were listed. */
  #take(pools: ReadonlyMap<string, PoolReading>): void {
    const pool = pools.get(this.#id);
    if (pool === undefined) this.#fail("pool", `no InferencePool ${this.#id}`);
    else if (pool.selector === null)
      this.#fail("pool", `InferencePool ${this.#id} has no selector.matchLabels`);
    else if (pool.ports.length === 0)
      this.#fail("pool", `InferencePool ${this.#id} has no usable targetPorts`);
    else {
      this.#failures.delete("pool");
      this.#pool = pool;
      this.#watchPods(pool.selector);
      this.#report();
    }
  }

  /** O3. */
  #watchPods(selector: string): void {
    if (this.#podsWatch?.selector === selector) return;
    this.#podsWatch?.ending.abort();
    const ending = new AbortController();
    this.#podsWatch = { selector, ending };
    const signal = AbortSignal.any([this.#ending.signal, ending.signal]);
    this.#track(
      this.#watch("pods", POOL_PODS, selector, signal, (pods) => {
        this.#pods = pods;
        this.#report();
      }),
    );
  }

  async #watch<Item extends Resource>(
    what: "pools" | "pods",
    kind: ResourceKind<Item>,
    selector: string | null,
    signal: AbortSignal,
    listed: (items: ReadonlyMap<string, Item>) => void,
  ): Promise<void> {
    const api = this.#api;
    if (api === null) return;
    const { times, namespace: wanted } = this.#settings;
    const namespace = wanted ?? api.namespace;
    const ifWanted = (act: () => void): void => {
      if (!signal.aborted) act();
    };
    const watch = new ResourceWatch<Item>(
      { kind, namespace, selector, times },
      {
        api,
        random: Math.random,
        listener: {
          listed: (items) => {
            ifWanted(() => {
              listed(items);
            });
          },
          heard: () => {
            ifWanted(() => {
              this.#failures.delete(what);
              this.#report();
            });
          },
          failed: (error: ApiError) => {
            ifWanted(() => {
              this.#fail(what, error.message);
            });
          },
          noted: () => undefined,
          answered: () => undefined,
        },
      },
      signal,
    );
    await watch.run();
  }

  #fail(what: "pool" | "pools" | "pods", message: string): void {
    this.#failures.set(what, message);
    this.#report();
  }

  /** O1, O2, O4. */
  #report(): void {
    const { listener, engineOf } = this.#parts;
    const [message] = this.#failures.values();
    const isStale = message !== undefined;
    if (isStale && this.#isCurrent !== false) listener.stale(message);
    const isListed = this.#pool !== null && this.#pods !== null;
    if (!isStale && isListed && this.#isCurrent !== true) listener.current();
    if (isStale || isListed) this.#isCurrent = !isStale;
    if (this.#pool === null || this.#pods === null) return;
    const { engines, notReady, unusable } = membersOf(this.#pods.values(), this.#pool.ports, engineOf);
    this.#tellUnusable(unusable);
    const standing = { notReady, isStale };
    const text = JSON.stringify({ engines, standing });
    if (text === this.#reported) return;
    this.#reported = text;
    listener.changed(engines, standing);
  }

  #tellUnusable(ids: readonly string[]): void {
    for (const id of ids)
      if (!this.#unusable.has(id))
        this.#parts.listener.unusable(
          `pod ${id}: ${PORTS_ANNOTATION} is not usable; expected ports from 1 to 65535, with commas between. The pool's ports count`,
        );
    this.#unusable = new Set(ids);
  }

  #track(run: Promise<void>): void {
    const tracked = run.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}
