/**
 * The engines that should be followed: joins the wishes of the sources into one set, and applies
 * that set to the registry.
 *
 *   file ───────state──▶┐               ┌─▶ of other shards: names only
 *   http ───────offer──▶├─▶ winners ────┤        ┌─ gone ─▶ registry.remove
 *   kubernetes ─state──▶┘    └▶ refusals└─▶ diff ┴─ new ──▶ registry.register ─▶ no room
 *
 * Invariants
 *  E1  After each call the registry holds exactly the winners of this daemon's shard. Those it has no room
 *      for are refusals, and are tried again.
 *  E2  An engine is wanted by one source at a time. Two that want the same id or endpoint: the
 *      source that comes first in ENGINE_SOURCES wins, within a source the one stated first. The
 *      other is a refusal that names both, and takes its place as soon as the winner is withdrawn.
 *      When both state the same engine, the stream continues without a change.
 *  E3  A refusal costs the engine it is about and nothing else.
 *  E4  A refusal is counted and logged once, when it begins; its end is logged too.
 *  E5  Winners are chosen among the engines of the whole fleet, so that every shard comes to the same.
 *      A refusal belongs to the shard of its id, and no other one reports it.
 *
 * An engine that changes in any field is another engine: it is removed and registered again, with
 * another slot. The blocks that the index holds for it belong to the former engine.
 *
 * Not here: where the sources get their engines from, and how well they do (discovery-status.ts).
 */

import { assert, shardOf } from "@kvsync/core";

import type { RegisteredEngine } from "../engine/engine-directory.ts";
import type { Engine } from "../engine/engine-entry.ts";
import {
  engineConflict,
  type EngineRegistry,
  firstDifference,
  RegistryError,
} from "../engine/engine-registry.ts";
import { type FleetShard, WHOLE_FLEET } from "../engine/fleet-shard.ts";
import { SocketClaims } from "../engine/socket-claims.ts";
import type { WriteEvent } from "../log/log-line.ts";

/** Where engines come from; of two that contradict each other the one named first is right. What a person wrote down goes before what was found. */
export const ENGINE_SOURCES = ["file", "http", "kubernetes"] as const;

/** One of ENGINE_SOURCES. */
export type EngineSource = (typeof ENGINE_SOURCES)[number];

/** Why an engine that a source wants is not followed for that source. */
export const REFUSAL_REASONS = ["duplicate", "conflict", "no_room", "malformed"] as const;

/** An engine that a source wants and that is not followed for it. */
export interface Refusal {
  readonly source: EngineSource;
  readonly id: string;
  /** `duplicate`: a better source says the very same, so the engine is followed all the same. */
  readonly reason: (typeof REFUSAL_REASONS)[number];
  /** What is wrong or contradicts; null when nothing does. */
  readonly field: string | null;
  /** Who has what it wants; null when nobody does. */
  readonly winner: { readonly source: EngineSource; readonly id: string } | null;
  readonly message: string;
}

/** What a source knows of an engine beside how to follow it. Only pods have such facts. */
export interface EngineFacts {
  readonly lora_id: number | null;
  readonly block_size: number | null;
  readonly pod_ip: string;
  /** On labels that are only shown and cannot be. */
  readonly remarks: readonly string[];
}

/** An engine that a source wants. */
export interface StatedEngine {
  readonly engine: Engine;
  /** Another value says that the engine's process began anew; null when the source cannot tell. */
  readonly incarnation: string | null;
  /** Shown beside the engine. */
  readonly facts?: EngineFacts;
}

/** Something that a source found and that is no engine. */
export interface MalformedEngine {
  readonly id: string;
  readonly field: string;
  readonly message: string;
}

/** What hears of refusals. */
export interface RefusalListener {
  readonly log: WriteEvent;
  /** A refusal began. */
  readonly refused: (refusal: Refusal) => void;
}

/** Refusals told one by one in one round; a fleet that is refused as a whole gets one line for the rest. */
const REFUSALS_TOLD_MAX = 20;

interface Winner extends StatedEngine {
  readonly source: EngineSource;
}

/** The sources' wishes, and the registry that is made to follow them. */
export class EngineSources {
  readonly #registry: EngineRegistry;
  readonly #listener: RefusalListener;
  readonly #shard: FleetShard;
  /** Whether an engine is this shard's: hashing over many shards takes microseconds, and each change looks at every engine. */
  readonly #owned = new WeakMap<Engine, boolean>();
  readonly #stated: Readonly<Record<EngineSource, Map<string, StatedEngine>>> = {
    file: new Map(),
    http: new Map(),
    kubernetes: new Map(),
  };
  readonly #malformed: Record<EngineSource, readonly Refusal[]> = { file: [], http: [], kubernetes: [] };
  #winners: ReadonlyMap<string, Winner> = new Map();
  /** By `keyOf`. */
  #refusals: ReadonlyMap<string, Refusal> = new Map();
  /** What was refused when refusals were last told. */
  #told: ReadonlyMap<string, Refusal> = new Map();
  /** What the registry said to those that it has no room for. */
  readonly #noRoom = new Map<string, RegistryError>();

  #elsewhereCount = 0;

  /**
   * @param registry - filled by this object alone.
   * @param listener - hears of refusals.
   * @param shard - the part of the fleet to follow.
   */
  constructor(registry: EngineRegistry, listener: RefusalListener, shard: FleetShard = WHOLE_FLEET) {
    this.#registry = registry;
    this.#listener = listener;
    this.#shard = shard;
  }

  /** The part of the fleet that is followed. */
  get shard(): FleetShard {
    return this.#shard;
  }

  /** Engines of this daemon's shard, those included that there is no room for. */
  get ownCount(): number {
    return this.#winners.size;
  }

  /** Engines of other shards: wanted, and followed by other daemons. */
  get elsewhereCount(): number {
    return this.#elsewhereCount;
  }

  /**
   * Takes all that a source wants in place of what it wanted before.
   *
   * @param source - whose wishes they are.
   * @param engines - with ids of their own; an engine that did not change is best given as the same object.
   * @param malformed - what it found beside them.
   */
  state(
    source: EngineSource,
    engines: readonly StatedEngine[],
    malformed: readonly MalformedEngine[] = [],
  ): void {
    const stated = this.#stated[source];
    stated.clear();
    for (const engine of engines) stated.set(engine.engine.id, engine);
    this.#malformed[source] = malformed.map((one) => ({
      source,
      reason: "malformed",
      winner: null,
      ...one,
    }));
    this.#reconcile();
  }

  /**
   * Takes one more engine of a source, if it can be followed.
   *
   * @param source - who wants it.
   * @param engine - checked and normalised.
   * @returns the engine as it is followed, and whether it was not before.
   * @throws RegistryError engine_conflict, registry_full, other_shard: then the source does not want it any more.
   */
  offer(source: EngineSource, engine: Engine): { registered: RegisteredEngine; created: boolean } {
    if (!this.#owns(engine)) throw otherShard(engine.id, this.#shard);
    const stated = this.#stated[source];
    const earlier = stated.get(engine.id);
    const field = earlier === undefined ? null : firstDifference(earlier.engine, engine);
    if (field !== null) throw engineConflict(engine, field, engine.id);
    const before = this.#registry.engine(engine.id);
    if (earlier === undefined) {
      stated.set(engine.id, { engine, incarnation: null });
      this.#settle();
    }
    const error = this.#refusalError(source, engine);
    if (error !== null) {
      if (earlier === undefined) {
        stated.delete(engine.id);
        this.#settle();
      }
      throw error;
    }
    this.#tell();
    const registered = this.#registry.engine(engine.id);
    assert(registered !== null, () => `E1: ${engine.id} is neither followed nor refused`);
    return { registered, created: registered !== before };
  }

  /**
   * Takes an engine of a source, in place of what it said of that id before. One that cannot be followed is a refusal.
   *
   * @param source - who wants it.
   * @param engine - checked and normalised.
   */
  restate(source: EngineSource, engine: Engine): void {
    this.#stated[source].set(engine.id, { engine, incarnation: null });
    this.#reconcile();
  }

  /**
   * What a source wants of an id.
   *
   * @param source - which.
   * @param id - the engine's.
   * @returns null when it does not want it.
   */
  statedBy(source: EngineSource, id: string): Engine | null {
    return this.#stated[source].get(id)?.engine ?? null;
  }

  /**
   * Takes an engine off a source's wishes.
   *
   * @param source - who wants it no more.
   * @param id - the engine's.
   * @throws RegistryError unknown_engine; stated_elsewhere when only other sources want it.
   */
  withdraw(source: EngineSource, id: string): void {
    if (!this.#stated[source].delete(id)) {
      const other = this.sourceOf(id);
      if (other === null) {
        const message = `no engine ${JSON.stringify(id)} is registered`;
        throw new RegistryError({ code: "unknown_engine", id }, message);
      }
      const message = `engine ${id} comes from ${SOURCE_TEXTS[other]}: it has to be taken out there`;
      throw new RegistryError({ code: "stated_elsewhere", id, source: other }, message);
    }
    this.#reconcile();
  }

  /**
   * Which source an engine is followed for.
   *
   * @param id - the engine's.
   * @returns null when none wants it.
   */
  sourceOf(id: string): EngineSource | null {
    return this.#winners.get(id)?.source ?? null;
  }

  /**
   * What the source of an engine knows beside it.
   *
   * @param id - the engine's.
   * @returns null when there is nothing.
   */
  factsOf(id: string): EngineFacts | null {
    return this.#winners.get(id)?.facts ?? null;
  }

  /**
   * What a source wants.
   *
   * @param source - which.
   * @returns engines, in the order they were stated.
   */
  *wanted(source: EngineSource): IterableIterator<Engine> {
    for (const { engine } of this.#stated[source].values()) yield engine;
  }

  /**
   * How many engines a source wants.
   *
   * @param source - which.
   * @returns those refused included, those malformed not.
   */
  wantedCount(source: EngineSource): number {
    return this.#stated[source].size;
  }

  /** What is wanted and not followed, best source first. */
  refusals(): IterableIterator<Refusal> {
    return this.#refusals.values();
  }

  #reconcile(): void {
    this.#settle();
    this.#tell();
  }

  /** Finds winners and refusals and brings the registry to them (E1). */
  #settle(): void {
    const refusals = new Map<string, Refusal>();
    const winners = this.#own(this.#choose(refusals));
    const leaving = [...this.#registry.engines()].filter(({ engine }) => {
      const winner = winners.get(engine.id);
      return winner === undefined || firstDifference(engine, winner.engine) !== null;
    });
    for (const { engine } of leaving) {
      // Its slots are free only later; whoever found no room meanwhile is tried again then.
      void this.#registry.remove(engine.id).then(() => {
        if ([...this.#refusals.values()].some(({ reason }) => reason === "no_room")) this.#reconcile();
      });
    }
    this.#noRoom.clear();
    for (const winner of winners.values()) this.#follow(winner, refusals);
    this.#winners = winners;
    this.#refusals = refusals;
  }

  #owns(engine: Engine): boolean {
    if (!this.#shard.isPart) return true;
    let owned = this.#owned.get(engine);
    if (owned === undefined) {
      owned = this.#shard.owns(engine.id);
      this.#owned.set(engine, owned);
    }
    return owned;
  }

  /** The winners of this shard. The others are known by their names, so that a lookup means the same model at every shard. */
  #own(all: Map<string, Winner>): Map<string, Winner> {
    if (!this.#shard.isPart) return all;
    const own = new Map<string, Winner>();
    const others: Engine[] = [];
    for (const [id, winner] of all) {
      if (this.#owns(winner.engine)) own.set(id, winner);
      else others.push(winner.engine);
    }
    this.#elsewhereCount = others.length;
    this.#registry.knowElsewhere(others);
    return own;
  }

  /** E2, E5. */
  #choose(refusals: Map<string, Refusal>): Map<string, Winner> {
    const winners = new Map<string, Winner>();
    const sockets = new SocketClaims<Winner>();
    for (const source of ENGINE_SOURCES) {
      for (const stated of this.#stated[source].values()) {
        const { engine } = stated;
        const rival = winners.get(engine.id) ?? sockets.rival(engine)?.owner;
        if (rival !== undefined) {
          if (this.#owns(engine)) refusals.set(keyOf(source, engine.id), standBack(source, engine, rival));
          continue;
        }
        const winner = { ...stated, source };
        winners.set(engine.id, winner);
        sockets.add(engine, winner);
      }
      for (const malformed of this.#malformed[source]) {
        if (this.#shard.owns(malformed.id)) refusals.set(keyOf(source, malformed.id), malformed);
      }
    }
    return winners;
  }

  #follow({ source, engine, incarnation }: Winner, refusals: Map<string, Refusal>): void {
    const { id } = engine;
    try {
      const { created } = this.#registry.register(engine);
      const before = this.#winners.get(id)?.incarnation ?? null;
      if (!created && incarnation !== null && before !== null && before !== incarnation)
        this.#registry.redial(id);
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      const { message } = error;
      this.#noRoom.set(keyOf(source, id), error);
      refusals.set(keyOf(source, id), { source, id, reason: "no_room", field: null, winner: null, message });
    }
  }

  /** E4. */
  #tell(): void {
    const begun = [...this.#refusals].filter(([key, refusal]) => {
      const told = this.#told.get(key);
      return told === undefined || told.message !== refusal.message;
    });
    const ended = [...this.#told.keys()].filter((key) => !this.#refusals.has(key)).length;
    this.#told = this.#refusals;
    const { log, refused } = this.#listener;
    for (const [i, [, refusal]] of begun.entries()) {
      refused(refusal);
      if (i >= REFUSALS_TOLD_MAX) continue;
      const { source, id, reason, field, winner, message } = refusal;
      const facts = { source, pod: id, reason, field, winner_source: winner?.source ?? null };
      log("engine_refused", facts, { level: reason === "duplicate" ? "info" : "warn", text: message });
    }
    const facts = { refused: this.#refusals.size, begun: begun.length, ended };
    if (begun.length > REFUSALS_TOLD_MAX || ended > 0) log("engines_refused", facts);
  }

  /** Why an engine is not followed at all; null when it is. */
  #refusalError(source: EngineSource, engine: Engine): RegistryError | null {
    const key = keyOf(source, engine.id);
    const refusal = this.#refusals.get(key);
    if (refusal === undefined || refusal.reason === "duplicate") return null;
    return (
      this.#noRoom.get(key) ?? engineConflict(engine, refusal.field ?? "id", refusal.winner?.id ?? engine.id)
    );
  }
}

function otherShard(id: string, { index, count }: FleetShard): RegistryError {
  const shard = shardOf(id, count);
  const message = `engine ${id} belongs to shard ${shard} of ${count}, and this daemon is shard ${index}: register it there`;
  return new RegistryError({ code: "other_shard", id, shard, count }, message);
}

const SOURCE_TEXTS: Readonly<Record<EngineSource, string>> = {
  file: "the configuration file",
  http: "registration over HTTP",
  kubernetes: "Kubernetes",
};

function standBack(source: EngineSource, engine: Engine, rival: Winner): Refusal {
  const { id } = engine;
  const winner = { source: rival.source, id: rival.engine.id };
  const difference = rival.engine.id === id ? firstDifference(rival.engine, engine) : "endpoint";
  const by = `${SOURCE_TEXTS[rival.source]} (engine ${rival.engine.id})`;
  const [reason, message] =
    difference === null
      ? (["duplicate", `engine ${id} of ${SOURCE_TEXTS[source]} is the same as that of ${by}`] as const)
      : ([
          "conflict",
          `engine ${id} of ${SOURCE_TEXTS[source]} contradicts ${by} in ${difference}; the latter is followed`,
        ] as const);
  return { source, id, reason, field: difference, winner, message };
}

function keyOf(source: EngineSource, id: string): string {
  return `${source} ${id}`;
}
