/**
 * Engines registered over HTTP, by either API: the wishes of the source `http`, and their copy on the disk.
 *
 *   register │ remove ─▶ sources ─▶ changed ─▶ write (one at a time, what comes meanwhile goes with the next) ─▶ saved()
 *
 *   names: given (names, kept) ─▶ admission ─▶ stated (addresses, followed)      every resolve_seconds again
 *
 * Names are kept as given and looked up again on a clock. A name that moved to an allowed address
 * is followed there. A name without an address, or with an address that is not allowed, is followed
 * at its former address. A registration that was kept and whose name has no address at the start
 * waits for one.
 *
 * A caller is answered after the file has its change or the write has failed. After a failure the
 * engine is still followed; log, metrics and health report that a restart would forget it.
 *
 * With a shared folder the wishes are what the folder holds (shared-registrations.ts):
 *
 *   register │ remove ─▶ read the folder ─▶ change here ─▶ change the folder ─▶ read it ─▶ answer
 *   every shared_poll_seconds ─────────────▶ read the folder ─▶ state what it holds
 *
 *  H1  A change that the folder does not take is undone and refused (registrations_unavailable).
 *  H2  While the folder cannot be read, what it held last is followed on.
 *  H3  Changes and reads of the folder happen one after the other.
 */

import { CodedError } from "@kvsync/core";

import type { Engine } from "../engine/engine-entry.ts";
import type { RegisteredEngine } from "../engine/engine-directory.ts";
import { engineConflict, firstDifference } from "../engine/engine-registry.ts";
import { hostNameOf } from "../engine/host-names.ts";
import type { WriteEvent } from "../log/log-line.ts";
import { AdmissionError, type EndpointAdmission } from "../security/endpoint-admission.ts";
import type { CommunityRegistration } from "./community-registration.ts";
import type { SourceStatus } from "./discovery-status.ts";
import type { EngineSources, StatedEngine } from "./engine-sources.ts";
import {
  type RegistrationFile,
  RegistrationFileError,
  type StoredRegistration,
} from "./registration-file.ts";
import type { ReplicaReport, SharedReading, SharedRegistrations } from "./shared-registrations.ts";

/** Facts of a change that the shared folder did not take. */
export interface UnavailableFacts {
  readonly code: "registrations_unavailable";
  readonly reason: string;
}

/** The shared folder cannot be read or written. */
class RegistrationsUnavailable extends CodedError<UnavailableFacts> {}

/** Attempts to register an id that other replicas register and remove at the same time. */
const CLAIMS_MAX = 3;

/** What registrations work with. */
export interface HttpRegistrationDependencies {
  readonly sources: EngineSources;
  /** Decides where they may be. */
  readonly admission: EndpointAdmission;
  /** Time between two looks at the addresses of names. */
  readonly resolveMs: number;
  readonly status: SourceStatus;
  /** Null when they are not kept, or kept in the shared folder. */
  readonly file: RegistrationFile | null;
  /** What all replicas share, and the time between two looks at it; null when this one is alone. */
  readonly shared: { readonly registrations: SharedRegistrations; readonly pollMs: number } | null;
  /** This daemon's name. */
  readonly replica: string;
  readonly log: WriteEvent;
}

/** The registrations of one daemon. */
export class HttpRegistrations {
  readonly #dependencies: HttpRegistrationDependencies;
  /** What the community's API was told beside the engine, by engine id. */
  readonly #community = new Map<string, CommunityRegistration>();
  /** As registered, with names, by id. One that is not stated waits for an address. */
  readonly #given = new Map<string, Engine>();
  /** What was last wrong with the address of a name, by id: logged when it changes. */
  readonly #failures = new Map<string, string>();
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;
  #isChanged = false;
  #writing: Promise<void> | null = null;
  #polling: NodeJS.Timeout | null = null;
  /** The last work on the shared folder (H3). */
  #last: Promise<unknown> = Promise.resolve();
  /** Of the reading that is followed; empty before the first. */
  #followed = "";

  /** @param dependencies - where they go. */
  constructor(dependencies: HttpRegistrationDependencies) {
    this.#dependencies = dependencies;
  }

  /** Takes up the registrations that were kept; a file that cannot be used costs them, and says so. Before anything is registered. */
  async restore(): Promise<void> {
    const { file, status, shared } = this.#dependencies;
    this.#lookLater();
    if (shared !== null) {
      await this.#poll(shared.registrations);
      this.#pollLater();
      return;
    }
    status.succeeded();
    if (file === null) return;
    await this.#restoreFrom(file);
    // Now, not at the first registration: a restart would forget it.
    if (status.failure === null) await this.#check(file);
  }

  async #check(file: RegistrationFile): Promise<void> {
    try {
      await file.check();
    } catch (error) {
      this.#notKept(file, error);
    }
  }

  #notKept({ path }: RegistrationFile, error: unknown): void {
    if (!(error instanceof RegistrationFileError)) throw error;
    const message = `registrations over HTTP would not survive a restart: ${error.message}`;
    this.#dependencies.status.failed("write_failed", message, { path });
  }

  async #restoreFrom(file: RegistrationFile): Promise<void> {
    const { sources, status, log } = this.#dependencies;
    try {
      const { kept, admitted } = await this.#admitted(await file.read());
      for (const { engine, community } of kept) {
        this.#given.set(engine.id, engine);
        if (community !== null) this.#community.set(community.engineId, community);
      }
      sources.state(
        "http",
        admitted.map((engine) => ({ engine, incarnation: null })),
      );
      if (kept.length > 0) log("registrations_restored", { path: file.path, engines: kept.length });
    } catch (error) {
      if (!(error instanceof RegistrationFileError)) throw error;
      const { code } = error;
      const message = `engines registered over HTTP are forgotten and have to be registered again: ${error.message}`;
      status.failed("registrations_refused", message, { path: file.path, code });
      if (code === "io_failed") return;
      log("registrations_set_aside", { path: await file.setAside().catch(() => null) });
    }
  }

  /** Looks no more; resolves when nothing of the shared folder is in use. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of [this.#timer, this.#polling]) if (timer !== null) clearTimeout(timer);
    const { shared } = this.#dependencies;
    if (shared !== null) await this.#inTurn(() => shared.registrations.leave());
  }

  /** This replica, and the others that share its registrations. */
  replicas(): readonly ReplicaReport[] {
    const { shared, replica } = this.#dependencies;
    if (shared !== null) return shared.registrations.replicas();
    return [{ name: replica, is_this: true, registrations: "current" }];
  }

  #pollLater(): void {
    const { shared } = this.#dependencies;
    if (this.#isStopped || shared === null) return;
    this.#polling = setTimeout(() => {
      void this.#poll(shared.registrations).finally(() => {
        this.#pollLater();
      });
    }, shared.pollMs);
    this.#polling.unref();
  }

  /** H3. */
  #inTurn<Outcome>(work: () => Promise<Outcome>): Promise<Outcome> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #poll(shared: SharedRegistrations): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isStopped) return;
      const { status } = this.#dependencies;
      try {
        const { refused } = await this.#follow(shared);
        await shared.meet(this.#followed);
        const [first] = refused;
        if (first === undefined) status.succeeded();
        else {
          const message = `${refused.length} registrations of the shared folder are not used: ${first.message}`;
          status.failed("registrations_refused", message, { path: first.facts.path });
        }
      } catch (error) {
        if (!(error instanceof RegistrationFileError)) throw error;
        // H2.
        const message = `registrations of other replicas are not known: ${error.message}`;
        status.failed("registrations_refused", message, { path: error.facts.path });
      }
    });
  }

  /** Reads the shared folder, and states what it holds. */
  async #follow(shared: SharedRegistrations): Promise<SharedReading> {
    const reading = await shared.read();
    if (reading.digest === this.#followed) return reading;
    const { sources } = this.#dependencies;
    const before = new Map(this.#given);
    this.#given.clear();
    this.#community.clear();
    const stated: StatedEngine[] = [];
    for (const { engine, community } of reading.entries) {
      const known = before.get(engine.id);
      const given = known !== undefined && firstDifference(known, engine) === null ? known : engine;
      this.#given.set(engine.id, given);
      if (community !== null) this.#community.set(community.engineId, community);
      const current = given === known ? sources.statedBy("http", engine.id) : null;
      const admitted = current ?? (await this.#admittedOrTold(given));
      if (admitted !== null) stated.push({ engine: admitted, incarnation: null });
    }
    for (const id of this.#failures.keys()) if (!this.#given.has(id)) this.#failures.delete(id);
    sources.state("http", stated);
    this.#followed = reading.digest;
    return reading;
  }

  async #admittedOrTold(engine: Engine): Promise<Engine | null> {
    try {
      return await this.#dependencies.admission.admit(engine);
    } catch (error) {
      if (!(error instanceof AdmissionError)) throw error;
      this.#tellFailure(engine, error, "is not followed yet");
      return null;
    }
  }

  /** H1. */
  async #sharing<Outcome>(work: (shared: SharedRegistrations) => Promise<Outcome>): Promise<Outcome> {
    const { shared } = this.#dependencies;
    if (shared === null) throw new TypeError("no shared folder");
    const { registrations } = shared;
    return this.#inTurn(async () => {
      try {
        await this.#follow(registrations);
        const outcome = await work(registrations);
        await this.#follow(registrations);
        await registrations.meet(this.#followed);
        return outcome;
      } catch (error) {
        // Whatever was changed here alone is as the folder has it again, now or at the next look.
        this.#followed = "";
        await this.#follow(registrations).catch(() => undefined);
        if (!(error instanceof RegistrationFileError)) throw error;
        const { facts } = error;
        const reason = facts.code === "io_failed" ? facts.reason : facts.code;
        const text = `the folder that the replicas share cannot be used (${reason}); nothing was changed, try again`;
        throw new RegistrationsUnavailable({ code: "registrations_unavailable", reason }, text, {
          cause: error,
        });
      }
    });
  }

  /** Registers here and in the shared folder, or nowhere. */
  #registerShared(engine: Engine, community: CommunityRegistration | null) {
    const { sources } = this.#dependencies;
    const { id } = engine;
    return this.#sharing(async (shared) => {
      for (let attempt = 0; attempt < CLAIMS_MAX; attempt++) {
        const isKnown = this.#given.has(id);
        const earlier = this.community(id);
        const outcome = await this.#registerHere(engine, community);
        if (isKnown) {
          if (community !== null && JSON.stringify(community) !== JSON.stringify(earlier))
            await shared.replace({ engine, community });
          return outcome;
        }
        const added = await shared.add({ engine, community });
        await this.#follow(shared);
        // Another replica registered this id meanwhile: the next attempt compares the two.
        if (added === "taken") continue;
        // Or another engine at the same address: then the earlier one stays.
        const refusal = [...sources.refusals()].find((one) => one.source === "http" && one.id === id);
        if (refusal?.reason !== "conflict") return outcome;
        await shared.remove(id);
        throw engineConflict(engine, refusal.field ?? "id", refusal.winner?.id ?? id);
      }
      throw engineConflict(engine, "id", id);
    });
  }

  #lookLater(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => {
        this.#lookLater();
      });
    }, this.#dependencies.resolveMs);
    this.#timer.unref();
  }

  /** One name after the other: the system's resolver takes a thread for each. */
  async #look(): Promise<void> {
    for (const given of [...this.#given.values()]) {
      if (this.#isStopped) return;
      if (hasName(given)) await this.#lookAt(given);
    }
  }

  async #lookAt(given: Engine): Promise<void> {
    const { admission, sources, log } = this.#dependencies;
    const { id } = given;
    const current = sources.statedBy("http", id);
    try {
      const admitted = await admission.admit(given, current);
      // Removed, or registered again, meanwhile.
      if (this.#given.get(id) !== given || sources.statedBy("http", id) !== current) return;
      this.#failures.delete(id);
      if (current !== null && firstDifference(current, admitted) === null) return;
      sources.restate("http", admitted);
      log("registration_moved", { pod: id, endpoint: admitted.ranks[0]?.endpoint ?? null });
    } catch (error) {
      if (!(error instanceof AdmissionError)) throw error;
      this.#tellFailure(given, error, current === null ? "is not followed" : "is followed where it was");
    }
  }

  #tellFailure({ id }: Engine, { message, facts: { code } }: AdmissionError, outcome: string): void {
    if (this.#failures.get(id) === message) return;
    this.#failures.set(id, message);
    const text = `an engine registered over HTTP ${outcome}: ${message}`;
    this.#dependencies.log("registration_not_resolved", { pod: id, code }, { text });
  }

  /** Those that may still be where they are: the ranges allowed may be others since. Those without an address now are kept. */
  async #admitted(stored: readonly StoredRegistration[]): Promise<{
    readonly kept: readonly StoredRegistration[];
    readonly admitted: readonly Engine[];
  }> {
    const { admission, log } = this.#dependencies;
    const kept: StoredRegistration[] = [];
    const admitted: Engine[] = [];
    for (const one of stored) {
      try {
        admitted.push(await admission.admit(one.engine));
        kept.push(one);
      } catch (error) {
        if (!(error instanceof AdmissionError)) throw error;
        const { code } = error.facts;
        if (code === "endpoint_unresolvable") {
          kept.push(one);
          this.#tellFailure(one.engine, error, "is not followed yet");
          continue;
        }
        const text = `an engine registered before is not taken up: ${error.message}`;
        log("registration_not_allowed", { pod: one.engine.id, code }, { text });
      }
    }
    return { kept, admitted };
  }

  /**
   * Registers an engine.
   *
   * @param engine - checked and normalised.
   * @param community - what the community's API was told beside it; null of our own API.
   * @returns the engine as it is followed, with addresses in place of names, and whether it was not before.
   * @throws AdmissionError endpoint_not_allowed, endpoint_unresolvable; RegistryError engine_conflict, registry_full;
   *   RegistrationsUnavailable registrations_unavailable.
   */
  async register(
    engine: Engine,
    community: CommunityRegistration | null,
  ): Promise<{ readonly registered: RegisteredEngine; readonly created: boolean }> {
    if (this.#dependencies.shared === null) return this.#registerHere(engine, community);
    return this.#registerShared(engine, community);
  }

  async #registerHere(
    engine: Engine,
    community: CommunityRegistration | null,
  ): Promise<{ readonly registered: RegisteredEngine; readonly created: boolean }> {
    const { admission, sources } = this.#dependencies;
    const known = this.#given.get(engine.id);
    const isKnown = known !== undefined && firstDifference(known, engine) === null;
    const current = isKnown ? sources.statedBy("http", engine.id) : null;
    const admitted = await admission.admit(engine, current);
    // The same again, and its name has moved: as the clock would find.
    if (current !== null && sources.statedBy("http", engine.id) === current) {
      if (firstDifference(current, admitted) !== null) sources.restate("http", admitted);
    }
    const outcome = sources.offer("http", admitted);
    if (!isKnown) this.#given.set(engine.id, engine);
    if (community !== null) this.#community.set(engine.id, community);
    this.#changed();
    return outcome;
  }

  /**
   * Takes a registration back.
   *
   * @param id - the engine's.
   * @throws RegistryError unknown_engine, stated_elsewhere; RegistrationsUnavailable registrations_unavailable.
   */
  async remove(id: string): Promise<void> {
    if (this.#dependencies.shared === null) {
      this.#removeHere(id);
      return;
    }
    await this.#sharing(async (shared) => {
      this.#removeHere(id);
      await shared.remove(id);
    });
  }

  #removeHere(id: string): void {
    const { sources } = this.#dependencies;
    const isWaiting = this.#given.has(id) && sources.statedBy("http", id) === null;
    if (!isWaiting) sources.withdraw("http", id);
    this.#given.delete(id);
    this.#failures.delete(id);
    this.#community.delete(id);
    this.#changed();
  }

  /**
   * What the community's API was told of an engine.
   *
   * @param id - the engine's.
   * @returns null when it did not come that way.
   */
  community(id: string): CommunityRegistration | null {
    return this.#community.get(id) ?? null;
  }

  /** What the community's API was told of all engines, in order. */
  communities(): readonly CommunityRegistration[] {
    return [...this.#community.values()];
  }

  /** Resolves when every change up to now is on the disk, or is known not to get there. Never rejects. */
  async saved(): Promise<void> {
    while (this.#writing !== null || this.#isChanged) await (this.#writing ?? this.#write());
  }

  #changed(): void {
    this.#isChanged = this.#dependencies.file !== null;
  }

  #write(): Promise<void> {
    this.#writing ??= this.#writeOnce().finally(() => {
      this.#writing = null;
    });
    return this.#writing;
  }

  async #writeOnce(): Promise<void> {
    const { file, status } = this.#dependencies;
    this.#isChanged = false;
    if (file === null) return;
    const all = [...this.#given.values()].map((engine) => ({
      engine,
      community: this.community(engine.id),
    }));
    try {
      await file.write(all);
      status.succeeded();
    } catch (error) {
      this.#notKept(file, error);
    }
  }
}

function hasName({ ranks }: Engine): boolean {
  return ranks.some(
    ({ endpoint, replayEndpoint }) =>
      hostNameOf(endpoint) !== null || hostNameOf(replayEndpoint ?? "") !== null,
  );
}
