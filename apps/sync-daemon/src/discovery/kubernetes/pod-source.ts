/**
 * Engines found in Kubernetes: the pods of some namespaces, as the wishes of the source `kubernetes`.
 *
 *   ApiServer ─▶ ResourceWatch per namespace ─▶ pods of all of them ─▶ engines, malformed ─▶ EngineSources
 *                       └─▶ up to date only when every namespace is
 *
 *  K1  The engines of a namespace are stated after its first list: before it they are unknown,
 *      which is not the same as "none". One that cannot be read withholds no other's.
 *  K2  All pods in one piece from the network are stated together, not pod by pod. Pods found
 *      before a restart are followed meanwhile, if they were kept.
 *  K3  Credentials that cannot be used are tried again, with pauses: a volume may be mounted late.
 */

import { readFile } from "node:fs/promises";

import { DISCOVERY_METRICS, POD_WAITING_REASONS } from "@kvsync/observability/kvsync/discovery";
import type { Gauge, MetricSlots } from "@kvsync/observability/slots";

import { firstDifference } from "../../engine/engine-registry.ts";
import type { LogLine } from "../../log/log-line.ts";
import type { SourceStatus } from "../discovery-status.ts";
import type { EngineSources, MalformedEngine, StatedEngine } from "../engine-sources.ts";
import { type RegistrationFile, RegistrationFileError } from "../registration-file.ts";
import { ApiError } from "./api-error.ts";
import { ApiServer } from "./api-server.ts";
import type { CredentialReader } from "./credentials.ts";
import {
  completed,
  type FoundPart,
  type PodEngine,
  type PodReading,
  podsOf,
  type WaitingReason,
} from "./pod-reading.ts";
import type { PodRule } from "./pod-rule.ts";
import { ResourceWatch, type WatchListener, type WatchTimes } from "./resource-watch.ts";
import { ServedModels } from "./served-models.ts";

/** Stands for every namespace. */
const ALL_NAMESPACES = "*";

/** What is looked for, and where. */
export interface PodSourceSettings {
  /** Reads who asks which API server. */
  readonly credentials: CredentialReader;
  /** Namespaces; empty for the account's own, `*` for all. */
  readonly namespaces: readonly string[];
  /** Beside the one of the rule that enables. */
  readonly selector: string | null;
  /** How pods become engines. */
  readonly rule: PodRule;
  /** File with the token for the engines' own API; null for none. */
  readonly modelsTokenFile: string | null;
  readonly times: WatchTimes;
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
  /** `*` for all. */
  readonly namespace: string;
  /** Null before its first list. */
  pods: ReadonlyMap<string, PodReading> | null;
  /** Null while it goes well. */
  failure: ApiError | null;
}

/** A pod that was stated as an engine. */
interface Kept {
  /** What it was made of: the reading, or what a part and its model came to. */
  readonly from: object;
  readonly stated: StatedEngine;
}

/** A pod whose model is known, or not yet. */
type Whole = Exclude<PodEngine, FoundPart>;

interface Resolved {
  readonly id: string;
  readonly found: Whole;
  /** The same object as long as nothing of it changed. */
  readonly from: object;
}

/** Finds engines in one cluster. */
export class PodSource {
  readonly #settings: PodSourceSettings;
  readonly #dependencies: PodSourceDependencies;
  readonly #ending = new AbortController();
  readonly #watched: Watched[] = [];
  /** By pod: pods tell of themselves often and mostly the same, and the same engine as the same object costs no comparing. */
  #stated = new Map<string, Kept>();
  readonly #served: ServedModels;
  readonly #pods;
  readonly #waiting: ReadonlyMap<WaitingReason, Gauge>;
  readonly #requests;
  #running: Promise<void> = Promise.resolve();
  #keeping: NodeJS.Timeout | null = null;
  /** What the file holds, as text; null when that is not known. */
  #kept: string | null = null;
  /** Found before the restart; those of a namespace hold until its first list (K1). */
  #remembered: readonly StatedEngine[] = [];

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
    this.#waiting = new Map(
      POD_WAITING_REASONS.map((reason) => [reason, metrics.gauge(DISCOVERY_METRICS.waiting, { reason })]),
    );
    this.#served = new ServedModels({
      timeoutMs: settings.times.requestMs,
      pauseMsMin: settings.times.pauseMsMin,
      pauseMsMax: settings.times.pauseMsMax,
      token: tokenReader(settings.modelsTokenFile),
      answered: () => {
        this.#state();
      },
      failed: (id, why) => {
        dependencies.status.count("models_unanswered");
        const message = `pod ${id} does not report the model that it serves: ${why}`;
        dependencies.log({ level: "info", event: "model_unanswered", message, facts: { pod: id } });
      },
    });
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
    this.#served.stop();
    await this.#running;
    if (this.#keeping !== null) clearTimeout(this.#keeping);
    // Behind whatever is being written: the file takes one writing after the other.
    await this.#keep();
  }

  /** K1: a cluster that cannot be asked has not said that its engines are gone. */
  async #remember(): Promise<void> {
    const { file, sources, status, log } = this.#dependencies;
    if (file === null) return;
    try {
      const kept = await file.read();
      const engines = kept.map(({ engine }) => ({ engine, incarnation: null }));
      this.#kept = JSON.stringify(kept);
      this.#remembered = engines;
      sources.state("kubernetes", engines);
      const facts = { path: file.path, engines: engines.length };
      const message = "follows the engines found before, until the cluster answers";
      if (engines.length > 0) log({ level: "info", event: "pods_remembered", message, facts });
    } catch (error) {
      if (!(error instanceof RegistrationFileError)) throw error;
      status.count("registrations_refused");
      log({ level: "warn", event: "pods_forgotten", message: error.message, facts: { path: file.path } });
    }
  }

  async #keep(): Promise<void> {
    const { file, sources, status, log } = this.#dependencies;
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
    const { namespaces, rule, times } = this.#settings;
    const kind = podsOf(rule);
    const selector = bothSelectors(rule.enabledBy, this.#settings.selector);
    const wanted = namespaces.length === 0 ? [api.namespace] : namespaces;
    const facts = { server: api.address, namespaces: wanted.join(",") };
    const message = "looks for engines in Kubernetes";
    this.#dependencies.log({ level: "info", event: "pods_watched", message, facts });
    const { signal } = this.#ending;
    const watches = wanted.map((name) => {
      const watched: Watched = { namespace: name, pods: null, failure: null };
      this.#watched.push(watched);
      const namespace = name === ALL_NAMESPACES ? null : name;
      const listener = this.#listener(watched);
      return new ResourceWatch(
        { kind, namespace, selector, times },
        { api, listener, random: Math.random },
        signal,
      );
    });
    await Promise.all(watches.map((watch) => watch.run()));
  }

  /** K3. Null when told to end meanwhile. */
  async #open(): Promise<ApiServer | null> {
    const { signal } = this.#ending;
    const { status } = this.#dependencies;
    while (!signal.aborted) {
      try {
        return await ApiServer.open(this.#settings.credentials);
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

  #listener(watched: Watched): WatchListener<PodReading> {
    const { status } = this.#dependencies;
    return {
      listed: (pods) => {
        watched.pods = pods;
        this.#state();
      },
      heard: () => {
        watched.failure = null;
        if (this.#watched.every(({ pods, failure }) => pods !== null && failure === null)) status.succeeded();
      },
      failed: (error) => {
        watched.failure = error;
        this.#tellFailures(error);
      },
      noted: (code) => {
        status.count(code);
      },
      answered: (request) => {
        this.#requests[request].inc();
      },
    };
  }

  /** One message for all namespaces that fail: told again when one more fails or another reason, not at each try. */
  #tellFailures({ facts }: ApiError): void {
    const failing = this.#watched.flatMap(({ namespace, failure }) =>
      failure === null ? [] : [{ namespace, failure }],
    );
    const [first] = failing;
    if (first === undefined) return;
    const message =
      this.#watched.length === 1
        ? first.failure.message
        : `${failing.length} of ${this.#watched.length} namespaces: ${failing.map(({ namespace, failure }) => `${namespace}: ${failure.message}`).join("; ")}`;
    this.#dependencies.status.failed(first.failure.facts.code, message, { server: facts.server }, facts.code);
  }

  /** What was found before the restart in namespaces that were not listed since. */
  #unlisted(): readonly StatedEngine[] {
    const unlisted = this.#watched.filter(({ pods }) => pods === null).map(({ namespace }) => namespace);
    if (unlisted.length === 0) this.#remembered = [];
    if (unlisted.includes(ALL_NAMESPACES)) return this.#remembered;
    return this.#remembered.filter(({ engine }) => unlisted.includes(engine.id.split("/", 1)[0] ?? ""));
  }

  /** A fleet is labelled as a whole: one line for all of it. */
  #tellRemarks(remarks: readonly string[]): void {
    const [first] = remarks;
    if (first === undefined) return;
    const message = `a label that is only shown cannot be: ${first}`;
    const facts = { source: "kubernetes", labels: remarks.length };
    this.#dependencies.log({ level: "warn", event: "pod_label_unusable", message, facts });
  }

  /** K1, K2. */
  #state(): void {
    const engines: StatedEngine[] = [...this.#unlisted()];
    const malformed: MalformedEngine[] = [];
    const kept = new Map<string, Kept>();
    const remarks: string[] = [];
    const resolved = this.#resolved();
    for (const { id, found, from } of resolved) {
      if (found.kind === "malformed") malformed.push(found);
      if (found.kind !== "engine") continue;
      const before = this.#stated.get(id);
      const stated = before?.from === from ? before.stated : sameEngine(found, before?.stated);
      if (before?.from !== from) remarks.push(...newRemarks(id, found, before?.stated));
      kept.set(id, { from, stated });
      engines.push(stated);
    }
    this.#stated = kept;
    this.#tellRemarks(remarks);
    this.#count(resolved);
    this.#dependencies.sources.state("kubernetes", engines, malformed);
    this.#keepSoon();
  }

  #count(resolved: readonly Resolved[]): void {
    const waiting = new Map<WaitingReason, number>();
    for (const { found } of resolved)
      if (found.kind === "waiting") waiting.set(found.why, (waiting.get(found.why) ?? 0) + 1);
    for (const [reason, gauge] of this.#waiting) gauge.set(waiting.get(reason) ?? 0);
    this.#pods.known.set(resolved.length - (waiting.get("disabled") ?? 0));
    this.#pods.eligible.set(this.#stated.size);
  }

  /** Every pod that is known, with the models that only engines could say. */
  #resolved(): readonly Resolved[] {
    const readings = [...this.#readings()];
    const parts = new Map<string, FoundPart>();
    for (const { id, found } of readings) if (found.kind === "part") parts.set(id, found);
    const models = this.#served.of(parts);
    return readings.map((reading): Resolved => {
      const { id, found } = reading;
      if (found.kind !== "part") return { id, found, from: reading };
      const model = models.get(id);
      const whole: Whole =
        model === undefined ? { kind: "waiting", why: "model_unknown" } : completed(found, model);
      return { id, found: whole, from: whole };
    });
  }

  /** The pods of every namespace that was listed. */
  *#readings(): Generator<PodReading> {
    for (const { pods } of this.#watched) if (pods !== null) yield* pods.values();
  }

  #keepSoon(): void {
    if (this.#dependencies.file === null || this.#keeping !== null) return;
    this.#keeping = setTimeout(() => {
      this.#keeping = null;
      void this.#keep();
    }, KEEP_MS);
    this.#keeping.unref();
  }
}

/** With the label selector of the settings beside the one that enables; null for none. */
function bothSelectors(...selectors: readonly (string | null)[]): string | null {
  const given = selectors.filter((one) => one !== null);
  return given.length === 0 ? null : given.join(",");
}

/** Read at each request: a volume may be mounted late, and a token may be rotated. */
function tokenReader(path: string | null): (() => Promise<string>) | null {
  if (path === null) return null;
  return async () => {
    const token = (await readFile(path, "utf8")).trim();
    // What stands in the file is not shown: it is a secret.
    if (!/^[\x21-\x7e]+$/.test(token))
      throw new Error(
        `discovery.kubernetes.models_token_file: ${path} holds no token that a header can carry`,
      );
    return token;
  };
}

function newRemarks(
  id: string,
  { facts }: StatedEngine,
  before: StatedEngine | undefined,
): readonly string[] {
  const known = before?.facts?.remarks ?? [];
  return (facts?.remarks ?? [])
    .filter((remark) => !known.includes(remark))
    .map((remark) => `pod ${id}: ${remark}`);
}

function sameEngine(found: StatedEngine, before: StatedEngine | undefined): StatedEngine {
  const isSame = before !== undefined && firstDifference(before.engine, found.engine) === null;
  return isSame ? { ...found, engine: before.engine } : found;
}
