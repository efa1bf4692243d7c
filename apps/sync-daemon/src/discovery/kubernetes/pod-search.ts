/**
 * Where pods are looked for: the watches of one cluster, which come and go with namespaces, pools
 * and settings.
 *
 *     namespaces: those of the settings, or a watch of namespaces by label
 *       └─ each ─▶ neither pools nor services: pods that the rule enables
 *                  pools: a watch of InferencePools ─▶ pods of each pool
 *                  services: a watch of EndpointSlices ─▶ endpoints
 *
 * Invariants
 *  S1  A watch that fails keeps what it last had, and takes nothing out of another. It is named in
 *      the failure of the source until it goes well or is not wanted any more.
 *  S2  A pool whose selector changes keeps its pods until those of the new selector are listed.
 *  S3  An engine that several watches have is one engine: that of the watch that began first.
 *  S4  Watches are bounded by name. Pools and namespaces beyond a bound are refused and shown, and
 *      so are names in the settings that the cluster does not have.
 *
 * Not here: how pods become engines (pod-reading.ts), and their statement (pod-source.ts).
 */

import type { MalformedEngine } from "../engine-sources.ts";
import type { ApiError, ApiFacts } from "./api-error.ts";
import type { ApiServer } from "./api-server.ts";
import { endpointsOf, SERVICE_LABEL, slicesOf, type SliceReading } from "./endpoint-slice.ts";
import { type PoolReading, POOLS } from "./inference-pool.ts";
import { NAMESPACES } from "./namespace-reading.ts";
import { type PodReading, podsOf } from "./pod-reading.ts";
import type { PodRule } from "./pod-rule.ts";
import type { Resource, ResourceKind } from "./resource-stream.ts";
import { ResourceWatch, type WatchTimes } from "./resource-watch.ts";

/** Stands for every namespace, and for every pool of one. */
const ALL = "*";
/** Pools whose pods are watched, over all namespaces; each is a connection to the API server. */
const POOLS_MAX = 64;
/** Namespaces that a label selects; each is a connection to the API server. */
const NAMESPACES_MAX = 128;
/** Failing watches that a message names. */
const TOLD_MAX = 8;

/** What is looked for, and where. */
export interface PodSearchSettings {
  /** Namespaces; empty for the account's own, `*` for all. */
  readonly namespaces: readonly string[];
  /** Label selector of namespaces, in place of their names; null for none. */
  readonly namespaceSelector: string | null;
  /** Beside the one of the rule that enables. */
  readonly selector: string | null;
  /** Names of InferencePools whose pods are the engines, `*` for all; empty for none. */
  readonly pools: readonly string[];
  /** Names of Services whose endpoints are the engines; empty for none. */
  readonly services: readonly string[];
  /** How pods become engines. */
  readonly rule: PodRule;
  readonly times: WatchTimes;
}

/** Hears of the watches. */
export interface SearchListener {
  /** What is found may have changed. */
  changed(): void;
  /** A watch goes well; all of them do when `isWell` says so. */
  heard(): void;
  /** A watch failed; a pause follows. */
  failed(error: ApiError): void;
  /** Something happened that was put right at once. */
  noted(code: ApiFacts["code"]): void;
  /** A request that was answered well. */
  answered(request: "list" | "watch"): void;
}

/** One watch, as it was last heard of. */
interface Watched {
  /** For people. */
  readonly name: string;
  /** `*` for all. */
  readonly namespace: string;
  /** What it has found; null before its first list. */
  readings: ReadonlyMap<string, PodReading> | null;
  /** What the cluster has that cannot be looked at, by the watch that found it. */
  malformed: readonly MalformedEngine[];
  /** Null while it goes well. */
  failure: ApiError | null;
  readonly end: () => void;
}

/** What is wanted of one namespace, to be ended together. */
interface Scope {
  readonly end: () => void;
}

/** The pods of one pool. */
interface PoolPods {
  /** What of the pool decides them. */
  readonly selection: string;
  readonly watched: Watched;
}

/** See the head of this file. */
export class PodSearch {
  readonly #settings: PodSearchSettings;
  readonly #api: ApiServer;
  readonly #listener: SearchListener;
  readonly #signal: AbortSignal;
  /** In the order they began (S3). */
  readonly #watched = new Set<Watched>();
  readonly #running = new Set<Promise<void>>();
  /** Names of the pools and services that each scope has, once it was listed; for S4. */
  readonly #names = new Map<Watched, ReadonlySet<string>>();
  #pools = 0;

  /**
   * @param settings - what to look for.
   * @param api - whom to ask.
   * @param listener - hears.
   * @param signal - ends it.
   */
  constructor(settings: PodSearchSettings, api: ApiServer, listener: SearchListener, signal: AbortSignal) {
    this.#settings = settings;
    this.#api = api;
    this.#listener = listener;
    this.#signal = signal;
  }

  /**
   * Looks until it is told to end.
   *
   * @returns resolves when nothing of it is open any more. Never rejects but for our own mistakes.
   */
  async run(): Promise<void> {
    const { namespaces, namespaceSelector } = this.#settings;
    if (namespaceSelector !== null) this.#searchLabelled(namespaceSelector);
    else
      for (const name of namespaces.length === 0 ? [this.#api.namespace] : namespaces) this.#searchIn(name);
    // A watch may begin others.
    while (this.#running.size > 0) await Promise.race(this.#running);
  }

  /** Whether every watch has listed once and does well. */
  get isWell(): boolean {
    return [...this.#watched].every(({ readings, failure }) => readings !== null && failure === null);
  }

  /** What the watches that fail say, in one message; null when none fails. */
  get failure(): { readonly code: ApiFacts["code"]; readonly message: string } | null {
    const failing = [...this.#watched].flatMap(({ name, failure }) =>
      failure === null ? [] : [{ name, failure }],
    );
    const [first] = failing;
    if (first === undefined) return null;
    const { code } = first.failure.facts;
    if (this.#watched.size === 1) return { code, message: first.failure.message };
    const told = failing.slice(0, TOLD_MAX).map(({ name, failure }) => `${name}: ${failure.message}`);
    const more = failing.length > told.length ? `; and ${failing.length - told.length} more` : "";
    const what = this.#isByNamespace ? "namespaces" : "watches";
    return { code, message: `${failing.length} of ${this.#watched.size} ${what}: ${told.join("; ")}${more}` };
  }

  /** Whether something may be in this namespace that no watch has listed yet. */
  isUnlisted(namespace: string): boolean {
    return [...this.#watched].some(
      (watched) =>
        watched.readings === null && (watched.namespace === namespace || watched.namespace === ALL),
    );
  }

  /** Every pod that some watch has, each once (S3). */
  readings(): readonly PodReading[] {
    const found = new Map<string, PodReading>();
    for (const { readings } of this.#watched)
      for (const [id, reading] of readings ?? []) if (!found.has(id)) found.set(id, reading);
    return [...found.values()];
  }

  /** S4. */
  malformed(): readonly MalformedEngine[] {
    const { pools, services } = this.#settings;
    return [
      ...[...this.#watched].flatMap(({ malformed }) => malformed),
      ...this.#absent("pools", "InferencePool", pools),
      ...this.#absent("services", "Service with endpoints", services),
    ];
  }

  get #isByNamespace(): boolean {
    const { namespaceSelector, pools, services } = this.#settings;
    return namespaceSelector === null && pools.length === 0 && services.length === 0;
  }

  #absent(
    setting: "pools" | "services",
    kind: string,
    wanted: readonly string[],
  ): readonly MalformedEngine[] {
    const scopes = [...this.#names].filter(([{ name }]) => name.startsWith(setting));
    const areListed = [...this.#watched].every(
      ({ name, readings }) => !name.startsWith(setting) || readings !== null,
    );
    if (scopes.length === 0 || !areListed) return [];
    const field = `discovery.kubernetes.${setting}`;
    return wanted
      .filter((name) => name !== ALL && scopes.every(([, names]) => !names.has(name)))
      .map((name) => {
        const message = `${field}: no namespace that is looked at has an ${kind} ${name}; correct the name or the namespaces`;
        return { id: `${setting}/${name}`, field, message };
      });
  }

  /** Namespaces that a label selects. */
  #searchLabelled(selector: string): void {
    const scopes = new Map<string, Scope>();
    this.#watch("namespaces", ALL, NAMESPACES, null, selector, (namespaces, watched) => {
      const names = [...namespaces.keys()].sort();
      const wanted = new Set(names.slice(0, NAMESPACES_MAX));
      for (const [name, scope] of scopes) {
        if (wanted.has(name)) continue;
        scope.end();
        scopes.delete(name);
      }
      for (const name of wanted) if (!scopes.has(name)) scopes.set(name, this.#searchIn(name));
      watched.malformed = names.slice(NAMESPACES_MAX).map((name) => {
        const field = "discovery.kubernetes.namespace_selector";
        const message = `${field}: namespace ${name} is beyond ${NAMESPACES_MAX}; choose a narrower selector or namespaces: ["*"]`;
        return { id: `namespace/${name}`, field, message };
      });
      watched.readings = new Map();
    });
  }

  #searchIn(name: string): Scope {
    const { pools, services, rule, selector } = this.#settings;
    const scopes: Scope[] = [];
    if (pools.length > 0) scopes.push(this.#searchPools(name));
    if (services.length > 0) scopes.push(this.#searchServices(name));
    if (scopes.length === 0) {
      const labels = bothSelectors(rule.enabledBy, selector);
      scopes.push(this.#watchPods(name, name, rule, labels));
    }
    return {
      end: () => {
        for (const scope of scopes) scope.end();
      },
    };
  }

  #searchPools(namespace: string): Scope {
    const pods = new Map<string, PoolPods>();
    const pools = this.#watch(
      `pools of ${namespace}`,
      namespace,
      POOLS,
      namespace,
      null,
      (found, watched) => {
        const wanted = [...found.values()].filter(({ name }) => this.#wants(this.#settings.pools, name));
        watched.malformed = this.#followPools(wanted, pods);
        this.#names.set(watched, new Set(wanted.map(({ name }) => name)));
        watched.readings = new Map();
      },
    );
    return {
      end: () => {
        pools.end();
        for (const { watched } of pods.values()) this.#endPool(watched);
        pods.clear();
      },
    };
  }

  /** Brings the watches of pods to the pools there are. Returns the pools that cannot be looked at. */
  #followPools(wanted: readonly PoolReading[], pods: Map<string, PoolPods>): readonly MalformedEngine[] {
    const refused: MalformedEngine[] = [];
    const usable = new Map<string, PoolReading & { readonly selector: string }>();
    for (const pool of wanted) {
      if (pool.selector === null) {
        const field = "spec.selector.matchLabels";
        refused.push({
          id: pool.id,
          field,
          message: `pool ${pool.id}: ${field}: expected at least one label`,
        });
      } else usable.set(pool.id, { ...pool, selector: pool.selector });
    }
    for (const [id, { watched }] of pods) {
      if (usable.has(id)) continue;
      this.#endPool(watched);
      pods.delete(id);
    }
    for (const [id, pool] of usable) {
      const before = pods.get(id);
      const selection = `${pool.selector} ${pool.ranks}`;
      if (before?.selection === selection) continue;
      if (before === undefined && this.#pools >= POOLS_MAX) {
        const field = "discovery.kubernetes.pools";
        const message = `${field}: pool ${id} is beyond ${POOLS_MAX}; name the pools that you need`;
        refused.push({ id, field, message });
        continue;
      }
      pods.set(id, { selection, watched: this.#watchPool(pool, before?.watched ?? null) });
    }
    return refused;
  }

  /** S2. */
  #watchPool(pool: PoolReading & { readonly selector: string }, before: Watched | null): Watched {
    const { rule, selector } = this.#settings;
    const labels = bothSelectors(pool.selector, selector);
    const watched = this.#watchPods(
      `pool ${pool.id}`,
      pool.namespace,
      { ...rule, dpSize: rule.dpSize ?? pool.ranks },
      labels,
    );
    this.#pools += 1;
    if (before !== null) {
      watched.readings = before.readings;
      this.#endPool(before);
    }
    return watched;
  }

  #endPool(watched: Watched): void {
    this.#pools -= 1;
    watched.end();
  }

  #searchServices(namespace: string): Scope {
    const { services, rule } = this.#settings;
    const selector = `${SERVICE_LABEL} in (${services.join(",")})`;
    const listed = (slices: ReadonlyMap<string, SliceReading>, watched: Watched): void => {
      this.#names.set(watched, new Set([...slices.values()].map(({ service }) => service)));
      watched.readings = endpointsOf(slices.values());
    };
    return this.#watch(`services of ${namespace}`, namespace, slicesOf(rule), namespace, selector, listed);
  }

  #watchPods(name: string, namespace: string, rule: PodRule, selector: string | null): Watched {
    return this.#watch(name, namespace, podsOf(rule), namespace, selector, (pods, watched) => {
      watched.readings = pods;
    });
  }

  /** Begins a watch, which lasts until it is ended. */
  #watch<Item extends Resource>(
    name: string,
    scope: string,
    kind: ResourceKind<Item>,
    namespace: string | null,
    selector: string | null,
    listed: (items: ReadonlyMap<string, Item>, watched: Watched) => void,
  ): Watched {
    const ending = new AbortController();
    const signal = AbortSignal.any([this.#signal, ending.signal]);
    const watched: Watched = {
      name,
      namespace: scope,
      readings: null,
      malformed: [],
      failure: null,
      end: () => {
        ending.abort();
        this.#watched.delete(watched);
        this.#names.delete(watched);
        this.#listener.heard();
      },
    };
    this.#watched.add(watched);
    const isWanted = (): boolean => this.#watched.has(watched);
    const listener = this.#listener;
    const watch = new ResourceWatch(
      { kind, namespace: namespace === ALL ? null : namespace, selector, times: this.#settings.times },
      {
        api: this.#api,
        random: Math.random,
        listener: {
          listed: (items) => {
            if (!isWanted()) return;
            listed(items, watched);
            listener.changed();
          },
          heard: () => {
            watched.failure = null;
            if (isWanted()) listener.heard();
          },
          failed: (error) => {
            watched.failure = error;
            if (isWanted()) listener.failed(error);
          },
          noted: (code) => {
            listener.noted(code);
          },
          answered: (request) => {
            listener.answered(request);
          },
        },
      },
      signal,
    );
    const running = watch.run().finally(() => this.#running.delete(running));
    this.#running.add(running);
    return watched;
  }

  #wants(names: readonly string[], name: string): boolean {
    return names.includes(ALL) || names.includes(name);
  }
}

/** With the label selector of the settings beside the one that enables; null for none. */
function bothSelectors(...selectors: readonly (string | null)[]): string | null {
  const given = selectors.filter((one) => one !== null);
  return given.length === 0 ? null : given.join(",");
}
