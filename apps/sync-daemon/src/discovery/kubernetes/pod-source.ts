/**
 * Engines found in Kubernetes: pods and endpoints, as the wishes of the source `kubernetes`.
 *
 *   ApiServer ─▶ PodSearch ─▶ pods of all watches ─▶ groups, models ─▶ engines, malformed ─▶ EngineSources
 *                    └─▶ up to date only when every watch is
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
import type { WriteEvent } from "../../log/log-line.ts";
import type { SourceStatus } from "../discovery-status.ts";
import type { EngineSources, MalformedEngine, StatedEngine } from "../engine-sources.ts";
import { type RegistrationFile, RegistrationFileError } from "../registration-file.ts";
import type { ApiError } from "./api-error.ts";
import { ApiServer } from "./api-server.ts";
import type { CredentialReader } from "./credentials.ts";
import { type GroupPart, joinGroup } from "./engine-groups.ts";
import {
  completed,
  type FoundPart,
  type PodEngine,
  type PodReading,
  type ServedModel,
  type WaitingReason,
} from "./pod-reading.ts";
import { PodSearch, type PodSearchSettings, type SearchListener } from "./pod-search.ts";
import { ServedModels } from "./served-models.ts";

/** What is looked for, and where. */
export interface PodSourceSettings extends PodSearchSettings {
  /** Reads who asks which API server. */
  readonly credentials: CredentialReader;
  /** File with the token for the engines' own API; null for none. */
  readonly modelsTokenFile: string | null;
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
  readonly log: WriteEvent;
}

/** A pod that was stated as an engine. */
interface Kept {
  /** What it was made of: the reading, or what a part and its model came to. */
  readonly from: object;
  readonly stated: StatedEngine;
}

/** A pod whose model is known, or not yet, or that is a part of another pod's engine. */
type Whole = Exclude<PodEngine, FoundPart> | { readonly kind: "joined" };

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
  /** Null before the API server's address is known. */
  #search: PodSearch | null = null;
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
  /** Models of engines found before the restart, until the engines have said theirs again. */
  readonly #rememberedModels = new Map<string, ServedModel>();

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
        const text = `pod ${id} does not report the model that it serves: ${why}`;
        dependencies.log("model_unanswered", { pod: id }, { text });
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
      for (const { engine } of engines) {
        const { id, model, aliases, adapters } = engine;
        this.#rememberedModels.set(id, { name: model, aliases, adapters });
      }
      sources.state("kubernetes", engines);
      if (engines.length > 0) log("pods_remembered", { path: file.path, engines: engines.length });
    } catch (error) {
      if (!(error instanceof RegistrationFileError)) throw error;
      status.count("registrations_refused");
      log("pods_forgotten", { path: file.path }, { text: error.message });
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
      log("pods_not_kept", { path: file.path }, { text: error.message });
    }
  }

  async #run(): Promise<void> {
    const api = await this.#open();
    if (api === null) return;
    const { namespaces, namespaceSelector } = this.#settings;
    const where = namespaces.length === 0 ? api.namespace : namespaces.join(",");
    this.#dependencies.log("pods_watched", { server: api.address, namespaces: namespaceSelector ?? where });
    this.#search = new PodSearch(this.#settings, api, this.#listener(), this.#ending.signal);
    await this.#search.run();
  }

  /** K3. Null when told to end meanwhile. */
  #open(): Promise<ApiServer | null> {
    const { credentials, times } = this.#settings;
    return ApiServer.openLater(credentials, {
      pauseMs: times.pauseMsMax,
      signal: this.#ending.signal,
      failed: ({ facts, message }) => {
        this.#dependencies.status.failed(facts.code, message);
      },
    });
  }

  #listener(): SearchListener {
    const { status } = this.#dependencies;
    return {
      changed: () => {
        this.#state();
      },
      heard: () => {
        if (this.#search?.isWell === true) status.succeeded();
      },
      failed: (error) => {
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

  /** One message for all watches that fail: told again when one more fails or another reason, not at each try. */
  #tellFailures({ facts }: ApiError): void {
    const failure = this.#search?.failure ?? null;
    if (failure === null) return;
    const { code, message } = failure;
    this.#dependencies.status.failed(code, message, { server: facts.server }, facts.code);
  }

  /** What was found before the restart where nothing was listed since. */
  #unlisted(): readonly StatedEngine[] {
    const search = this.#search;
    this.#remembered = this.#remembered.filter(
      ({ engine }) => search?.isUnlisted(engine.id.split("/", 1)[0] ?? "") !== false,
    );
    return this.#remembered;
  }

  /** A fleet is labelled as a whole: one line for all of it. */
  #tellRemarks(remarks: readonly string[]): void {
    const [first] = remarks;
    if (first === undefined) return;
    const text = `a label that is only shown cannot be: ${first}`;
    this.#dependencies.log("pod_label_unusable", { source: "kubernetes", labels: remarks.length }, { text });
  }

  /** K1, K2. */
  #state(): void {
    const engines: StatedEngine[] = [...this.#unlisted()];
    const malformed: MalformedEngine[] = [...(this.#search?.malformed() ?? [])];
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
    this.#pods.eligible.set(
      resolved.filter(({ found }) => found.kind === "engine" || found.kind === "joined").length,
    );
  }

  /** Every pod that is known: those of one worker joined, and with the models that only engines could say. */
  #resolved(): readonly Resolved[] {
    const readings = this.#search?.readings() ?? [];
    const whole = joinedParts(readings);
    const asking = new Map<string, FoundPart>();
    for (const found of whole.values())
      if (found.kind === "part" && found.model === null) asking.set(found.entry.id, found);
    const served = this.#served.of(asking);
    this.#forgetModels(asking, served);
    return readings.map((reading): Resolved => {
      const { id } = reading;
      const found = whole.get(id) ?? reading.found;
      if (found.kind !== "part") return { id, found, from: found.kind === "engine" ? reading : found };
      const model = found.model ?? served.get(id) ?? this.#rememberedModels.get(id);
      const complete: Whole =
        model === undefined ? { kind: "waiting", why: "model_unknown" } : completed(found, model);
      return { id, found: complete, from: complete };
    });
  }

  /** A remembered model holds until its engine has said its own, or its pod is known to be gone. */
  #forgetModels(asking: ReadonlyMap<string, FoundPart>, served: ReadonlyMap<string, ServedModel>): void {
    for (const id of [...this.#rememberedModels.keys()]) {
      const isGone = !asking.has(id) && this.#search?.isUnlisted(id.split("/", 1)[0] ?? "") === false;
      if (served.has(id) || isGone) this.#rememberedModels.delete(id);
    }
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

/** What pods of several-pod workers amount to, by the pod; and each other part as it is. */
function joinedParts(readings: readonly PodReading[]): ReadonlyMap<string, FoundPart | Whole> {
  const found = new Map<string, FoundPart | Whole>();
  const groups = new Map<string, GroupPart[]>();
  for (const reading of readings) {
    if (reading.found.kind !== "part") continue;
    const part = reading.found;
    if (part.member === null) found.set(reading.id, part);
    else
      groups.set(part.member.group, [
        ...(groups.get(part.member.group) ?? []),
        { ...part, member: part.member },
      ]);
  }
  for (const pods of groups.values()) {
    const group = joinGroup(pods);
    for (const { entry, member } of pods) {
      if (group.kind === "incomplete") found.set(entry.id, { kind: "waiting", why: "group_incomplete" });
      else if (member.index !== 0) found.set(entry.id, { kind: "joined" });
      else found.set(entry.id, group.kind === "whole" ? group.leader : group);
    }
  }
  return found;
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
