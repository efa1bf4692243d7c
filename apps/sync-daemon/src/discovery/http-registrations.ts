/**
 * Engines registered over HTTP, by either API: the wishes of the source `http`, and their copy on the disk.
 *
 *   register │ remove ─▶ sources ─▶ changed ─▶ write (one at a time, what comes meanwhile goes with the next) ─▶ saved()
 *
 * A caller is answered after the file has its change, or has been found not to take it: then the engine is followed all the
 * same, and log, metrics and health say that a restart would forget it.
 */

import type { Engine } from "../engine/engine-entry.ts";
import type { RegisteredEngine } from "../engine/engine-registry.ts";
import type { LogLine } from "../log/log-line.ts";
import { AdmissionError, type EndpointAdmission } from "../security/endpoint-admission.ts";
import type { CommunityRegistration } from "./community-registration.ts";
import type { SourceStatus } from "./discovery-status.ts";
import type { EngineSources } from "./engine-sources.ts";
import {
  type RegistrationFile,
  RegistrationFileError,
  type StoredRegistration,
} from "./registration-file.ts";

/** What registrations work with. */
export interface HttpRegistrationDependencies {
  readonly sources: EngineSources;
  /** Decides where they may be. */
  readonly admission: EndpointAdmission;
  readonly status: SourceStatus;
  /** Null when they are not kept. */
  readonly file: RegistrationFile | null;
  readonly log: (line: LogLine) => void;
}

/** The registrations of one daemon. */
export class HttpRegistrations {
  readonly #dependencies: HttpRegistrationDependencies;
  /** What the community's API was told beside the engine, by engine id. */
  readonly #community = new Map<string, CommunityRegistration>();
  #isChanged = false;
  #writing: Promise<void> | null = null;

  /** @param dependencies - where they go. */
  constructor(dependencies: HttpRegistrationDependencies) {
    this.#dependencies = dependencies;
  }

  /** Takes up the registrations that were kept; a file that cannot be used costs them, and says so. Before anything is registered. */
  async restore(): Promise<void> {
    const { file, sources, status, log } = this.#dependencies;
    status.succeeded();
    if (file === null) return;
    try {
      const kept = await this.#admitted(await file.read());
      for (const { community } of kept)
        if (community !== null) this.#community.set(community.engineId, community);
      sources.state(
        "http",
        kept.map(({ engine }) => ({ engine, incarnation: null })),
      );
      const facts = { path: file.path, engines: kept.length };
      const message = "took up the engines registered over HTTP before";
      if (kept.length > 0) log({ level: "info", event: "registrations_restored", message, facts });
    } catch (error) {
      if (!(error instanceof RegistrationFileError)) throw error;
      const { code } = error;
      const message = `engines registered over HTTP are forgotten and have to be registered again: ${error.message}`;
      status.failed("registrations_refused", message, { path: file.path, code });
      if (code === "io_failed") return;
      const aside = await file.setAside().catch(() => null);
      const kept = "the refused file is kept aside";
      log({ level: "warn", event: "registrations_set_aside", message: kept, facts: { path: aside } });
    }
  }

  /** Those that may still be where they are: the ranges allowed may be others since. */
  async #admitted(kept: readonly StoredRegistration[]): Promise<StoredRegistration[]> {
    const { admission, log } = this.#dependencies;
    const admitted: StoredRegistration[] = [];
    for (const stored of kept) {
      try {
        admitted.push({ ...stored, engine: await admission.admit(stored.engine) });
      } catch (error) {
        if (!(error instanceof AdmissionError)) throw error;
        const message = `an engine registered before is not taken up: ${error.message}`;
        const facts = { pod: stored.engine.id, code: error.facts.code };
        log({ level: "warn", event: "registration_not_allowed", message, facts });
      }
    }
    return admitted;
  }

  /**
   * Registers an engine.
   *
   * @param engine - checked and normalised.
   * @param community - what the community's API was told beside it; null of our own API.
   * @returns the engine as it is followed, with addresses in place of names, and whether it was not before.
   * @throws AdmissionError endpoint_not_allowed, endpoint_unresolvable; RegistryError engine_conflict, registry_full.
   */
  async register(
    engine: Engine,
    community: CommunityRegistration | null,
  ): Promise<{ readonly registered: RegisteredEngine; readonly created: boolean }> {
    const { admission, sources } = this.#dependencies;
    const outcome = sources.offer("http", await admission.admit(engine));
    if (community !== null) this.#community.set(engine.id, community);
    this.#changed();
    return outcome;
  }

  /**
   * Takes a registration back.
   *
   * @param id - the engine's.
   * @throws RegistryError unknown_engine, stated_elsewhere.
   */
  remove(id: string): void {
    this.#dependencies.sources.withdraw("http", id);
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
    const { file, sources, status } = this.#dependencies;
    this.#isChanged = false;
    if (file === null) return;
    const all = [...sources.wanted("http")].map((engine) => ({
      engine,
      community: this.community(engine.id),
    }));
    try {
      await file.write(all);
      status.succeeded();
    } catch (error) {
      if (!(error instanceof RegistrationFileError)) throw error;
      const message = `registrations over HTTP would not survive a restart: ${error.message}`;
      status.failed("write_failed", message, { path: file.path });
    }
  }
}
