/**
 * The engines that are followed, and the rank slots they have. discovery/engine-sources.ts decides
 * which engines are wanted; it alone calls `register` and `remove`.
 *
 *   absent ──register──▶ followed ──remove──▶ leaving ──ingest has cleared it──▶ absent, slot free
 *
 * Invariants
 *  R1  A rank slot belongs to at most one rank at a time. It is reused only after the ingest thread
 *      has cleared it. So a lookup never credits a new engine with an old one's blocks.
 *  R2  Ids are unique, and so are sockets (socket-claims.ts): two engines on one would be one engine counted twice.
 *  R3  Engines, ranks and models are bounded.
 *  R4  A slot that a snapshot filled is kept for its own rank for a limited time. Another engine
 *      that registers under that id gets another slot.
 */

import { CodedError, RANK_SLOTS_MAX } from "@kvsync/core";

import type { FollowedRank } from "./followed-rank.ts";
import type { SnapshotStream } from "./followed-rank.ts";
import type { RegisteredEngine } from "./engine-directory.ts";
import type { Engine, EngineRank } from "./engine-entry.ts";
import { FleetDirectory } from "./fleet-directory.ts";
import type { NamesElsewhere } from "./names-elsewhere.ts";
import { SlotIncarnations } from "./slot-incarnations.ts";
import { SocketClaims } from "./socket-claims.ts";

/** Models served at once: label values and tables grow with them. */
const MODELS_MAX = 1024;

/** Facts of a refused registration. */
export type RegistryFacts =
  | {
      readonly code: "engine_conflict";
      readonly id: string;
      readonly field: string;
      readonly conflictsWith: string;
    }
  | { readonly code: "unknown_engine"; readonly id: string }
  | { readonly code: "stated_elsewhere"; readonly id: string; readonly source: string }
  | { readonly code: "other_shard"; readonly id: string; readonly shard: number; readonly count: number }
  | {
      readonly code: "registry_full";
      readonly limit: "engines" | "ranks" | "files of ranks within the limit on open files" | "models";
      readonly maximum: number;
    };

/** A registration that cannot be. */
export class RegistryError extends CodedError<RegistryFacts> {}

/** What follows ranks. */
export interface RankFollower {
  follow(rank: FollowedRank): void;
  /** Resolves when the slot is clean. */
  forget(rankSlot: number): Promise<void>;
  /** The rank's process is known to have begun anew: if it is not connected, dial at once and not after the current pause. */
  redial(rankSlot: number): void;
}

/** What a slot stands for. */
export interface SlotOwner {
  readonly workerId: string;
  readonly model: string;
  readonly dpRank: number;
}

/** All engines being followed. */
export class EngineRegistry extends FleetDirectory {
  /** Tells other threads whose slot it is. */
  readonly incarnations: SlotIncarnations = new SlotIncarnations();
  readonly #follower: RankFollower;
  readonly #enginesMax: number;
  readonly #filesMax: number;
  readonly #filesOf: (engine: Engine) => number;
  /** Of all engines, those on their way out included. */
  #files = 0;
  readonly #engines = new Map<string, RegisteredEngine>();
  readonly #listeners: ((id: string) => void)[] = [];
  /** By id (R2). */
  readonly #sockets = new SocketClaims<string>();
  readonly #owners: (SlotOwner | undefined)[] = [];
  /** Streams of a snapshot that nobody has claimed yet, by `claimOf`. */
  readonly #reserved = new Map<string, SnapshotStream>();
  /** Slots given back, oldest first; beyond them, the next never used one. */
  readonly #freeSlots: number[] = [];
  #nextSlot = 0;

  /**
   * @param follower - is told what to follow.
   * @param limits - engines at once, the file descriptors that there are for them, and how many one takes.
   */
  constructor(
    follower: RankFollower,
    limits: {
      readonly engines: number;
      readonly engineFiles: number;
      readonly filesOf: (engine: Engine) => number;
    },
  ) {
    super();
    this.#follower = follower;
    this.#enginesMax = limits.engines;
    this.#filesMax = limits.engineFiles;
    this.#filesOf = limits.filesOf;
  }

  /**
   * Keeps slots for the ranks that a snapshot knows (R4). Before anything is registered.
   *
   * @param streams - what was restored; the index holds their blocks.
   */
  reserve(streams: readonly SnapshotStream[]): void {
    for (const stream of streams) this.#reserved.set(claimOf(stream), stream);
    const taken = new Set(streams.map((stream) => stream.rankSlot));
    this.#nextSlot = Math.max(0, ...[...taken].map((slot) => slot + 1));
    for (let slot = 0; slot < this.#nextSlot; slot++) if (!taken.has(slot)) this.#freeSlots.push(slot);
  }

  /**
   * Lets go of the slots that nobody claimed: their engines have not come back.
   *
   * @returns how many there were; resolves when the index is clear of them.
   */
  async releaseReserved(): Promise<number> {
    const unclaimed = [...this.#reserved.values()];
    this.#reserved.clear();
    await Promise.all(unclaimed.map(({ rankSlot }) => this.#forget(rankSlot)));
    return unclaimed.length;
  }

  /**
   * Registers an engine and has it followed.
   *
   * @param engine - checked and normalised.
   * @returns the engine with its slots, and whether it is new; false when the same was there already.
   * @throws RegistryError engine_conflict, registry_full.
   */
  register(engine: Engine): { readonly registered: RegisteredEngine; readonly created: boolean } {
    const existing = this.#engines.get(engine.id);
    if (existing !== undefined) {
      const field = firstDifference(existing.engine, engine);
      if (field === null) return { registered: existing, created: false };
      throw engineConflict(engine, field, engine.id);
    }
    const other = this.#sockets.rival(engine);
    if (other !== undefined) throw engineConflict(engine, "endpoint", other.owner);
    this.#refuseBeyondLimits(engine);
    this.#files += this.#filesOf(engine);
    const claims = engine.ranks.map((rank) => this.#claim(engine, rank));
    const ranks = engine.ranks.map(({ dpRank }, i) => ({
      dpRank,
      rankSlot: claims[i]?.rankSlot ?? this.#takeSlot(),
    }));
    const registered: RegisteredEngine = { engine, ranks };
    this.#engines.set(engine.id, registered);
    this.own.add(registered);
    this.#sockets.add(engine, engine.id);
    engine.ranks.forEach(({ endpoint, replayEndpoint, dpRank }, i) => {
      const rankSlot = ranks[i]?.rankSlot ?? 0;
      const owner = { workerId: engine.id, model: engine.model, dpRank };
      this.#owners[rankSlot] = owner;
      const { topic, bind, curveServerKey, reportMode, sharedSocket, dropsLastBlock } = engine;
      const resumeFrom = claims[i]?.position ?? null;
      this.#follower.follow({
        rankSlot,
        engineSlot: ranks[0]?.rankSlot ?? rankSlot,
        ...owner,
        endpoint,
        replayEndpoint,
        topic,
        bind,
        curveServerKey,
        sharedSocket,
        reportMode,
        dropsLastBlock,
        resumeFrom,
      });
    });
    this.#tell(engine.id);
    return { registered, created: true };
  }

  /**
   * Stops following an engine. It is gone from lookups at once; its slots become free when the index is clear of it.
   *
   * @param id - the engine's.
   * @returns resolves when its slots are free.
   * @throws RegistryError unknown_engine.
   */
  remove(id: string): Promise<void> {
    const registered = this.#engines.get(id);
    if (registered === undefined) {
      throw new RegistryError(
        { code: "unknown_engine", id },
        `no engine ${JSON.stringify(id)} is registered`,
      );
    }
    this.#engines.delete(id);
    this.own.remove(registered);
    this.#sockets.remove(registered.engine);
    const freed = registered.ranks.map(async ({ rankSlot }) => {
      this.#owners[rankSlot] = undefined;
      this.incarnations.end(rankSlot);
      await this.#forget(rankSlot);
    });
    this.#tell(id);
    return Promise.all(freed).then(() => {
      this.#files -= this.#filesOf(registered.engine);
    });
  }

  /**
   * Knows the engines that other daemons follow: a lookup means the same model here and there, and a
   * picker sends requests to them.
   *
   * @param engines - all of them, in place of those before.
   */
  knowElsewhere(engines: readonly Engine[]): void {
    for (const id of this.others.state(engines)) this.#tell(id);
  }

  /** The engines that other daemons follow. */
  get elsewhere(): Pick<NamesElsewhere, "engine" | "engines"> {
    return this.others;
  }

  /**
   * Has an engine's ranks dialled without waiting, where they are not connected.
   *
   * @param id - the engine's; one that is not registered is passed over.
   */
  redial(id: string): void {
    for (const { rankSlot } of this.#engines.get(id)?.ranks ?? []) this.#follower.redial(rankSlot);
  }

  /**
   * An engine by its id.
   *
   * @param id - the engine's.
   * @returns null when it is not registered.
   */
  engine(id: string): RegisteredEngine | null {
    return this.#engines.get(id) ?? null;
  }

  /** Every engine, in the order of registration. */
  engines(): IterableIterator<RegisteredEngine> {
    return this.#engines.values();
  }

  /** Number of engines. */
  get engineCount(): number {
    return this.#engines.size;
  }

  /**
   * Hears of every engine that comes or goes, here or elsewhere, by its id, from now on.
   *
   * @param listener - called at the change, which is done.
   */
  onChange(listener: (id: string) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Whose slot it is.
   *
   * @param rankSlot - from a lookup.
   * @returns null when nobody's, or no longer.
   */
  ownerOf(rankSlot: number): SlotOwner | null {
    return this.#owners[rankSlot] ?? null;
  }

  #refuseBeyondLimits(engine: Engine): void {
    const free = this.#freeSlots.length + RANK_SLOTS_MAX - this.#nextSlot;
    const wanted = engine.ranks.length;
    const full =
      this.#engines.size >= this.#enginesMax
        ? ({ limit: "engines", maximum: this.#enginesMax } as const)
        : free < wanted
          ? ({ limit: "ranks", maximum: RANK_SLOTS_MAX } as const)
          : this.#files + this.#filesOf(engine) > this.#filesMax
            ? ({ limit: "files of ranks within the limit on open files", maximum: this.#filesMax } as const)
            : this.own.enginesOf(engine.model) === null && this.own.modelCount >= MODELS_MAX
              ? ({ limit: "models", maximum: MODELS_MAX } as const)
              : null;
    if (full === null) return;
    throw new RegistryError(
      { code: "registry_full", ...full },
      `no room for engine ${engine.id}: at most ${full.maximum} ${full.limit} at once`,
    );
  }

  #tell(id: string): void {
    for (const listener of this.#listeners) listener(id);
  }

  async #forget(rankSlot: number): Promise<void> {
    await this.#follower.forget(rankSlot);
    this.#freeSlots.push(rankSlot);
  }

  /** What a snapshot kept for this rank, if it is the same one. Whatever else it kept under that name can go. */
  #claim(engine: Engine, { dpRank, endpoint }: EngineRank): SnapshotStream | null {
    const { id: workerId, model, topic, reportMode } = engine;
    const key = claimOf({ workerId, dpRank });
    const kept = this.#reserved.get(key);
    if (kept === undefined) return null;
    this.#reserved.delete(key);
    const isSame =
      kept.model === model &&
      kept.endpoint === endpoint &&
      kept.topic === topic &&
      kept.reportMode === reportMode;
    if (isSame) return kept;
    void this.#forget(kept.rankSlot);
    return null;
  }

  #takeSlot(): number {
    const freed = this.#freeSlots.shift();
    if (freed !== undefined) return freed;
    this.#nextSlot += 1;
    return this.#nextSlot - 1;
  }
}

function claimOf({ workerId, dpRank }: Pick<SnapshotStream, "workerId" | "dpRank">): string {
  return JSON.stringify([workerId, dpRank]);
}

/**
 * Says that two engines cannot both be.
 *
 * @param engine - the one that has to stand back.
 * @param field - in which they clash.
 * @param rival - id of the other; the same id when one engine is described in two ways.
 * @returns engine_conflict.
 */
export function engineConflict(engine: Engine, field: string, rival: string): RegistryError {
  const { id } = engine;
  const message =
    rival === id
      ? `engine ${id} is registered with another ${field}`
      : `engine ${id} has an ${field} that belongs to engine ${rival}`;
  return new RegistryError({ code: "engine_conflict", id, field, conflictsWith: rival }, message);
}

const COMPARED_FIELDS = [
  "model",
  "aliases",
  "adapters",
  "topic",
  "reportMode",
  "type",
  "dropsLastBlock",
  "sharedSocket",
  "http",
  "bind",
  "curveServerKey",
  "ranks",
] as const;

/**
 * Compares two engines.
 *
 * @param one - normalised.
 * @param other - normalised.
 * @returns the first field in which they differ beside the id, or null.
 */
export function firstDifference(one: Engine, other: Engine): string | null {
  if (one === other) return null;
  for (const field of COMPARED_FIELDS) {
    if (JSON.stringify(one[field]) !== JSON.stringify(other[field])) return field;
  }
  return null;
}
