/**
 * Engines found in Kubernetes: the pods of some namespaces, as the wishes of the source `kubernetes`.
 *
 *   ApiServer ─▶ PodWatch per namespace ─▶ pods of all of them ─▶ engines, malformed ─▶ EngineSources
 *                       └─▶ up to date only when every namespace is
 *
 *  K1  Engines are stated when every namespace has been listed once: until then the cluster has said nothing, which is not the same as "none".
 *  K2  What comes in one piece of the network is stated at once, not pod by pod.
 *      What was found before the daemon was restarted is followed meanwhile, if it was kept.
 *  K3  Credentials that cannot be used are tried again, with pauses: a volume may be mounted late.
 */

import { DISCOVERY_METRICS, type MetricSlots } from "@kvsync/observability";

import { firstDifference } from "../../engine/engine-registry.ts";
import type { LogLine } from "../../log/log-line.ts";
import type { SourceStatus } from "../discovery-status.ts";
import type { EngineSources, MalformedEngine, StatedEngine } from "../engine-sources.ts";
import { type RegistrationFile, RegistrationFileError } from "../registration-file.ts";
import { ApiError, ApiServer } from "./api-server.ts";
import type { PodReading } from "./pod-reading.ts";
import { PodWatch, type PodWatchListener, type PodWatchTimes } from "./pod-watch.ts";

/** Stands for every namespace. */
const ALL_NAMESPACES = "*";

/** What is looked for, and where. */
export interface PodSourceSettings {
  /** A kubeconfig file; null for the pod's service account. */
  readonly kubeconfig: string | null;
  /** Namespaces; empty for the account's own, `*` for all. */
  readonly namespaces: readonly string[];
  readonly selector: string | null;
  readonly times: PodWatchTimes;
}

/** Changes of what is found are kept at most this often: it is only for a restart. */
const KEEP_MS = 2000;

/** Where what is found goes. */
export interface PodSourceDependencies {
  /** Keeps what was found last over a restart; null for not at all. */
  readonly file: RegistrationFile | null;
  readonly sources: EngineSources;
  readonly status: SourceStatus;
  readonly metrics: MetricSlots;
  readonly log: (line: LogLine) => void;
}

/** One namespace, as it was last heard of. */
interface Watched {
  pods: ReadonlyMap<string, PodReading> | null;
  isFailing: boolean;
}

/** A pod that was stated as an engine. */
interface Kept {
  readonly reading: PodReading;
  readonly stated: StatedEngine;
}

/** Finds engines in one cluster. */
export class PodSource {
  readonly #settings: PodSourceSettings;
  readonly #dependencies: PodSourceDependencies;
  readonly #ending = new AbortController();
  readonly #watched: Watched[] = [];
  /** By pod: pods tell of themselves often and mostly the same, and the same engine as the same object costs no comparing. */
  #stated = new Map<string, Kept>();
  readonly #pods;
  readonly #requests;
  #running: Promise<void> = Promise.resolve();
  #keeping: NodeJS.Timeout | null = null;
  /** What the file holds, as text; null when that is not known. */
  #kept: string | null = null;

  /**
   * @param settings - what to look for.
   * @param dependencies - where it goes.
   */
  constructor(settings: PodSourceSettings, dependencies: PodSourceDependencies) {
    const { metrics } = dependencies;
    this.#settings = settings;
    this.#dependencies = dependencies;
    this.#pods = {
      known: metrics.gauge(DISCOVERY_METRICS.pods, { status: "known" }),
      eligible: metrics.gauge(DISCOVERY_METRICS.pods, { status: "eligible" }),
    };
    this.#requests = {
      list: metrics.counter(DISCOVERY_METRICS.requests, { request: "list" }),
      watch: metrics.counter(DISCOVERY_METRICS.requests, { request: "watch" }),
    };
  }

  /** States what was kept, and looks from now on. */
  async start(): Promise<void> {
    await this.#remember();
    this.#running = this.#run();
  }

  /** Looks no more; resolves when no request is open and what was found is kept. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running;
    if (this.#keeping === null) return;
    clearTimeout(this.#keeping);
    await this.#keep();
  }

  /** K1: a cluster that cannot be asked has not said that its engines are gone. */
  async #remember(): Promise<void> {
    const { file, sources, status, log } = this.#dependencies;
    if (file === null) return;
    try {
      const kept = await file.read();
      const engines = kept.map(({ engine }) => ({ engine, incarnation: null }));
      sources.state("kubernetes", engines);
      const facts = { path: file.path, engines: engines.length };
      const message = "follows the engines found before, until the cluster is heard";
      if (engines.length > 0) log({ level: "info", event: "pods_remembered", message, facts });
    } catch (error) {
      if (!(error instanceof RegistrationFileError)) throw error;
      status.count("registrations_refused");
      log({ level: "warn", event: "pods_forgotten", message: error.message, facts: { path: file.path } });
    }
  }

  async #keep(): Promise<void> {
    const { file, sources, status, log } = this.#dependencies;
    this.#keeping = null;
    const engines = [...sources.wanted("kubernetes")].map((engine) => ({ engine, community: null }));
    const text = JSON.stringify(engines);
    if (file === null || text === this.#kept) return;
    try {
      await file.write(engines);
      this.#kept = text;
    } catch (error) {
      if (!(error instanceof RegistrationFileError)) throw error;
      status.count("write_failed");
      log({ level: "warn", event: "pods_not_kept", message: error.message, facts: { path: file.path } });
    }
  }

  async #run(): Promise<void> {
    const api = await this.#open();
    if (api === null) return;
    const { namespaces, selector, times } = this.#settings;
    const wanted = namespaces.length === 0 ? [api.namespace] : namespaces;
    const facts = { server: api.address, namespaces: wanted.join(",") };
    const message = "looks for engines in Kubernetes";
    this.#dependencies.log({ level: "info", event: "pods_watched", message, facts });
    const { signal } = this.#ending;
    const watches = wanted.map((name) => {
      const watched: Watched = { pods: null, isFailing: false };
      this.#watched.push(watched);
      const namespace = name === ALL_NAMESPACES ? null : name;
      const listener = this.#listener(watched);
      return new PodWatch({ namespace, selector, times }, { api, listener, random: Math.random }, signal);
    });
    await Promise.all(watches.map((watch) => watch.run()));
  }

  /** K3. Null when told to end meanwhile. */
  async #open(): Promise<ApiServer | null> {
    const { signal } = this.#ending;
    const { status } = this.#dependencies;
    while (!signal.aborted) {
      try {
        return await ApiServer.open(this.#settings.kubeconfig);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        status.failed(error.facts.code, error.message);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#settings.times.pauseMsMax);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return null;
  }

  #listener(watched: Watched): PodWatchListener {
    const { status } = this.#dependencies;
    return {
      listed: (pods) => {
        watched.pods = pods;
        this.#state();
      },
      heard: () => {
        watched.isFailing = false;
        if (this.#watched.every(({ pods, isFailing }) => pods !== null && !isFailing)) status.succeeded();
      },
      failed: ({ facts, message }) => {
        watched.isFailing = true;
        status.failed(facts.code, message, { server: facts.server });
      },
      noted: (code) => {
        status.count(code);
      },
      answered: (request) => {
        this.#requests[request].inc();
      },
    };
  }

  /** K1, K2. */
  #state(): void {
    const engines: StatedEngine[] = [];
    const malformed: MalformedEngine[] = [];
    const kept = new Map<string, Kept>();
    let known = 0;
    for (const { pods } of this.#watched) {
      if (pods === null) return;
      known += pods.size;
      for (const reading of pods.values()) {
        const { id, found } = reading;
        if (found.kind === "malformed") malformed.push(found);
        if (found.kind !== "engine") continue;
        const before = this.#stated.get(id);
        const stated = before?.reading === reading ? before.stated : sameEngine(found, before?.stated);
        kept.set(id, { reading, stated });
        engines.push(stated);
      }
    }
    this.#stated = kept;
    this.#pods.known.set(known);
    this.#pods.eligible.set(engines.length);
    this.#dependencies.sources.state("kubernetes", engines, malformed);
    if (this.#dependencies.file === null || this.#keeping !== null) return;
    this.#keeping = setTimeout(() => void this.#keep(), KEEP_MS);
    this.#keeping.unref();
  }
}

function sameEngine(found: StatedEngine, before: StatedEngine | undefined): StatedEngine {
  const isSame = before !== undefined && firstDifference(before.engine, found.engine) === null;
  return isSame ? { ...found, engine: before.engine } : found;
}
