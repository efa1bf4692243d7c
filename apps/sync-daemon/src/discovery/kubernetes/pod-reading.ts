/**
 * Reads a pod's description of its engine. Its project's rule (pod-rule.ts) is applied. Labels and
 * annotations under `model.aibrix.ai/`, set by operators, go before the rule.
 *
 *     kv-events-enabled      label        "true": this pod publishes KV events; one with "True", "1" or "yes" is malformed: its author wants it followed
 *     name                   annotation   the model's name, where the rule does not say otherwise; with the preset aibrix a label too
 *     aliases                annotation   further names that the engine serves the model under, with commas between
 *     adapters               annotation   LoRA adapters that it serves under their own names, likewise
 *     lora-id                label        integer from -1 (none, the default): shown; adapters come from the engine's events
 *     kv-events-port         annotation   port of DP rank 0's events; else the container's port of the rule's name, else the rule's number
 *     kv-events-replay-port  annotation   port of DP rank 0's replay, or "none"; likewise
 *     kv-events-dp-size      annotation   DP ranks in this pod; rank r is at both ports + r
 *     kv-events-shared-socket annotation  "true": all ranks publish through one socket
 *     kv-events-first-rank   annotation   global DP rank of the first one in this pod, 0
 *     kv-events-ports        annotation   instead of port and size: the ports of this pod's ranks in order, with commas between
 *     kv-events-replay-ports annotation   the same for replay
 *     kv-events-topic        annotation   the topic that it publishes under, whole
 *     kv-events-report-mode  annotation   auto, delta or full
 *     kv-curve-server-key    annotation   the engine's CURVE public key; without it that of the settings, or plain ZeroMQ
 *     engine-type            annotation   vLLM, SGLang or TensorRT-LLM: a hint for `reusable_tokens`; the project's own label else
 *     drops-last-block       annotation   "true": the engine does not reuse its last matched block
 *     kv-events-block-size   annotation   tokens in a block: shown; the size in the engine's events counts
 *
 *     disabled, absent address, not publishing, not running, on its way out, not ready ─▶ waiting      a label that cannot be ─▶ malformed
 *     a model that only the engine's /v1/models has, a rank of a worker over several pods ─▶ part       else ─▶ engine
 *     A label that is only shown (lora-id, kv-events-block-size) takes no engine out: it is remarked on, and shown as absent.
 *
 * A pod that is being deleted is dropped at once, as Kubernetes takes it out of its services at
 * that moment. The engine's id is `namespace/name`. Nothing here is kept between two pods.
 */

import { isIPv6 } from "node:net";

import type { POD_WAITING_REASONS } from "@kvsync/observability/kvsync/discovery";
import type { z } from "zod";

import {
  DP_RANKS_MAX,
  endpointOfRank,
  type Engine,
  type EngineEntryInput,
  engineEntry,
  type EngineRank,
} from "../../engine/engine-entry.ts";
import { engineTypeOf } from "../../engine/engine-type.ts";
import type { ModelSource } from "../../settings/kubernetes-settings.ts";
import type { EngineFacts, MalformedEngine } from "../engine-sources.ts";
import { modelOfFlags, modelOfTopic, topicOfFlags } from "./command-line.ts";
import { podFacts, type PodFacts } from "./pod-facts.ts";
import type { GroupRule, PodRule } from "./pod-rule.ts";
import { disablingLabel } from "./presets.ts";
import type { ResourceKind } from "./resource-stream.ts";

/** What all labels and annotations begin with. */
const PREFIX = "model.aibrix.ai/";
const ENABLED = "kv-events-enabled";
/** Pods of a LeaderWorkerSet's group; other groups are as large as their highest place says. */
const GROUP_SIZE = "leaderworkerset.sigs.k8s.io/size";

/** vLLM's examples use it. It is also DP rank 1's port for events. */
const REPLAY_PORT = 5558;
/** With several ranks: leaves 100 ports for their events. */
const REPLAY_PORT_OF_RANKS = 5657;
const NO_REPLAY = "none";
const LORA_NONE = -1;
const LORA_ID_MAX = 2_147_483_647;
/** The largest that any engine offers is far smaller. */
const BLOCK_SIZE_MAX = 65_536;
const PORT_MAX = 65_535;
/** Longest value that a message shows. */
const SHOWN_LENGTH = 100;

/** Why a pod is no engine at the moment, without a fault. */
export type WaitingReason = (typeof POD_WAITING_REASONS)[number];

/** The field that cannot be used, and why. */
type Refusal = Omit<MalformedEngine, "id">;

/** What only the engine can say of a model. */
export interface ServedModel {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly adapters: readonly string[];
}

/** A pod that is an engine. */
interface FoundEngine {
  readonly kind: "engine";
  readonly engine: Engine;
  readonly incarnation: string;
  readonly facts: EngineFacts;
}

/** A pod's place in its group. */
export interface Member {
  /** Unique over all namespaces. */
  readonly group: string;
  readonly index: number;
  /** Pods of the group; null when the pod does not say. */
  readonly size: number | null;
  /** Label with the index, for messages. */
  readonly indexLabel: string;
}

/** A pod that is an engine once its model is known. */
export interface FoundPart {
  readonly kind: "part";
  /** All of its entry but the model. */
  readonly entry: Omit<EngineEntryInput, "model">;
  /** Null when only the engine has it. */
  readonly model: ServedModel | null;
  /** Its place in a worker over several pods; null when it is one by itself. */
  readonly member: Member | null;
  readonly ranks: readonly EngineRank[];
  /** Where its HTTP API is. */
  readonly api: { readonly address: string; readonly port: number };
  /** Another text says that the engine's process has started again. */
  readonly process: string;
  readonly isReady: boolean;
  readonly incarnation: string;
  readonly facts: EngineFacts;
}

/** The fields of an entry that are addresses. */
type Sockets = Pick<EngineEntryInput, "endpoint" | "endpoints" | "replay_endpoint" | "replay_endpoints">;

/** What a pod amounts to. */
export type PodEngine =
  | FoundEngine
  | FoundPart
  | { readonly kind: "waiting"; readonly why: WaitingReason }
  | ({ readonly kind: "malformed" } & MalformedEngine);

/** One pod, as little of it as is needed. */
export interface PodReading {
  /** `namespace/name`. */
  readonly id: string;
  readonly resourceVersion: string;
  readonly found: PodEngine;
}

/**
 * Pods under a rule, as a kind that can be watched.
 *
 * @param rule - how they become engines.
 * @returns the kind.
 */
export function podsOf(rule: PodRule): ResourceKind<PodReading> {
  return { noun: "pods", group: "/api/v1", plural: "pods", read: (object) => readPod(object, rule) };
}

/**
 * Reads a pod as the API server sends it.
 *
 * @param object - parsed JSON.
 * @param rule - how it becomes an engine.
 * @returns null when it is no pod at all.
 */
export function readPod(object: unknown, rule: PodRule): PodReading | null {
  const pod = podFacts(object);
  return pod === null ? null : readFacts(pod, rule);
}

/**
 * Reads what is known of a pod or an endpoint.
 *
 * @param pod - its facts.
 * @param rule - how it becomes an engine.
 * @returns what it amounts to.
 */
export function readFacts(pod: PodFacts, rule: PodRule): PodReading {
  const { id, resourceVersion } = pod;
  const why = waitingReason(pod, rule);
  return { id, resourceVersion, found: why === null ? publishing(pod, rule) : { kind: "waiting", why } };
}

/**
 * Completes a pod with what its engine serves.
 *
 * @param part - the pod.
 * @param model - of its engine.
 * @returns an engine, or why it is none.
 */
export function completed(
  { entry, incarnation, facts }: FoundPart,
  model: ServedModel,
): Exclude<PodEngine, FoundPart> {
  const { aliases = [], adapters = [] } = entry;
  return engineOf(
    {
      ...entry,
      model: model.name,
      aliases: [...aliases, ...model.aliases],
      adapters: [...adapters, ...model.adapters],
    },
    { incarnation, facts },
  );
}

/** `null` when the pod may be followed. */
function waitingReason({ labels, state, address, isReady }: PodFacts, rule: PodRule): WaitingReason | null {
  if (disablingLabel(labels) !== null) return "disabled";
  if (state !== "running") return state;
  if (address === "") return "no_address";
  if (rule.onlyReady && !isReady) return "not_ready";
  return isFollower(labels, rule.group) ? "not_publishing" : null;
}

/** A pod for which the first one of its worker publishes. */
function isFollower(labels: PodFacts["labels"], group: GroupRule | null): boolean {
  if (group?.publishing !== "first" || labels[group.label] === undefined) return false;
  return /^0*[1-9]\d*$/.test(labels[group.indexLabel] ?? "");
}

/** A pod's place in its worker; null when it is one by itself, and when the label cannot be, which is a refusal. */
function memberOf(
  { namespace, labels, annotations }: PodFacts,
  group: GroupRule | null,
  read: Fields,
): Member | null {
  const value = group === null ? undefined : labels[group.label];
  if (group === null || value === undefined) return null;
  const { indexLabel } = group;
  const index = labels[indexLabel] ?? "";
  if (!/^\d{1,4}$/.test(index) || Number(index) >= DP_RANKS_MAX) {
    read.refuseKey(
      indexLabel,
      `${shown(index)} is not usable; expected the pod's place in ${group.label}, an integer from 0 to ${DP_RANKS_MAX - 1}`,
    );
    return null;
  }
  if (group.publishing === "first") return null;
  const size = annotations[GROUP_SIZE] ?? "";
  return {
    group: `${namespace}/${value}`,
    index: Number(index),
    size: /^[1-9]\d{0,3}$/.test(size) ? Number(size) : null,
    indexLabel,
  };
}

/** Reads a pod that does not wait. */
function publishing(pod: PodFacts, rule: PodRule): PodEngine {
  const { id, labels, address } = pod;
  const read = new Fields(pod);
  const enabled = labels[PREFIX + ENABLED] ?? "true";
  if (enabled !== "true") read.refuse(ENABLED, `${shown(enabled)} does not enable it; expected "true"`);
  const loraId = read.shownInteger("lora-id", LORA_NONE, LORA_NONE, LORA_ID_MAX);
  const blockSize = read.shownInteger("kv-events-block-size", null, 1, BLOCK_SIZE_MAX);
  const sockets = socketsOf(pod, rule, read);
  const member = memberOf(pod, rule.group, read);
  const model = modelOf(pod, rule.modelFrom, read);
  if (read.malformed !== null) return { kind: "malformed", id, ...read.malformed };
  const facts = { lora_id: loraId, block_size: blockSize, pod_ip: address, remarks: read.remarks };
  // What a pod says is text; the entry's schema decides whether it is one of its values.
  const entry = {
    id,
    aliases: read.names("aliases"),
    adapters: read.names("adapters"),
    type: read.text("engine-type") ?? typeOf(labels, rule.typeLabel),
    topic: read.text("kv-events-topic") ?? undefined,
    report_mode: read.text("kv-events-report-mode") ?? undefined,
    curve_server_key: read.text("kv-curve-server-key") ?? undefined,
    drops_last_block: flagOf(read.text("drops-last-block")),
    ...sockets,
  } as Omit<EngineEntryInput, "model">;
  const incarnation = `${pod.process} ${pod.isReady ? "ready" : "not ready"}`;
  if (model !== null && member === null) return engineOf({ ...entry, model }, { incarnation, facts });
  // Whatever else cannot be is said at once, and not when the engine has answered.
  const checked = engineOf({ ...entry, model: "unknown" }, { incarnation, facts });
  if (checked.kind !== "engine") return checked;
  const port = portOf(pod, rule.http) ?? 0;
  const { process, isReady } = pod;
  return {
    kind: "part",
    entry,
    model: model === null ? null : { name: model, aliases: [], adapters: [] },
    member,
    ranks: checked.engine.ranks,
    api: { address, port },
    process,
    isReady,
    incarnation,
    facts,
  };
}

function engineOf(
  written: EngineEntryInput,
  rest: Pick<FoundEngine, "incarnation" | "facts">,
): Exclude<PodEngine, FoundPart> {
  const entry = engineEntry.safeParse(written);
  if (entry.success) return { kind: "engine", engine: entry.data, ...rest };
  return { kind: "malformed", id: written.id, ...refusedEntry(written.id, entry.error) };
}

function refusedEntry(id: string, { issues: [issue] }: z.ZodError): Refusal {
  const field = FIELD_OF_ENTRY[String(issue?.path[0])] ?? `${PREFIX}kv-events-port`;
  return { field, message: `pod ${id}: ${field}: expected ${issue?.message ?? "an engine"}` };
}

/** The model's name; null when only the engine has it, and when there is none, which is a refusal. */
function modelOf(pod: PodFacts, sources: readonly ModelSource[], read: Fields): string | null {
  for (const source of sources) {
    if (source.from === "served") return null;
    const name = nameFrom(source, pod, read);
    if (name !== null && name !== "") return name;
  }
  read.refuse("name", `expected the model's name from ${sources.map(sourceText).join(", ")}`);
  return null;
}

function nameFrom(
  source: Exclude<ModelSource, { from: "served" }>,
  { labels, annotations, containers }: PodFacts,
  read: Fields,
): string | null {
  switch (source.from) {
    case "label":
      return labels[source.key] ?? null;
    case "annotation":
      return annotations[source.key] ?? null;
    case "fixed":
      return source.name;
    case "topic": {
      const topic = read.text("kv-events-topic") ?? topicOfFlags(containers);
      return topic === null ? null : modelOfTopic(topic);
    }
    case "args":
      return modelOfFlags(containers);
  }
}

function sourceText(source: ModelSource): string {
  switch (source.from) {
    case "label":
    case "annotation":
      return `the ${source.from} ${source.key}`;
    case "topic":
      return "a topic kv@POD@MODEL of --kv-events-config";
    case "args":
      return "--served-model-name, --model or what `vllm serve` names";
    case "fixed":
    case "served":
      return source.from;
  }
}

/** A label that is not one of ours is a hint: a type that is not known here is none. */
function typeOf(labels: Readonly<Record<string, string>>, label: string | null): string | undefined {
  const text = label === null ? undefined : labels[label];
  return text === undefined || engineTypeOf(text) === null ? undefined : text;
}

/** A flag that was not set is left to the entry's default. */
function flagOf(text: string | null): boolean | undefined {
  return text === null ? undefined : text === "true";
}

/** Of the container's port with the rule's name, or else the rule's number. */
function portOf({ ports }: PodFacts, { name, number }: PodRule["events"]): number | null {
  return (name === null ? undefined : ports.get(name)) ?? number;
}

/** The parts of an engine entry that say where its ranks are. */
function socketsOf(pod: PodFacts, rule: PodRule, read: Fields): object {
  const host = isIPv6(pod.address) ? `[${pod.address}]` : pod.address;
  const at = (port: number): string => `tcp://${host}:${port}`;
  const eventsPorts = read.ports("kv-events-ports");
  const size = read.integer("kv-events-dp-size", eventsPorts?.length ?? rule.dpSize ?? 1, 1, DP_RANKS_MAX);
  const first_rank = read.integer("kv-events-first-rank", placeOf(pod, rule) * size, 0, DP_RANKS_MAX - 1);
  const events =
    eventsPorts === null
      ? { endpoint: at(read.integer("kv-events-port", portOf(pod, rule.events) ?? 0, 1, PORT_MAX)) }
      : { endpoints: eventsPorts.map(at) };
  const replay = replayOf(pod, rule, read, first_rank + size > 1, at);
  const shared_socket = read.text("kv-events-shared-socket") === "true";
  const sockets: Sockets = { ...events, ...replay };
  const local = rule.group?.rankPorts === "local" && !shared_socket && first_rank > 0;
  return { first_rank, dp_size: size, shared_socket, ...(local ? countedLocally(sockets, size) : sockets) };
}

/** Ports are counted from the pod's first rank: the pods of a worker listen at the same ones. */
function countedLocally({ endpoint, replay_endpoint, ...lists }: Sockets, size: number): object {
  const counted = (base: string): string[] => Array.from({ length: size }, (_, i) => endpointOfRank(base, i));
  return {
    ...lists,
    ...(endpoint === undefined ? {} : { endpoints: counted(endpoint) }),
    ...(replay_endpoint === undefined ? {} : { replay_endpoints: counted(replay_endpoint) }),
  };
}

/** The pod's place in its worker, as far as it can be read. */
function placeOf({ labels }: PodFacts, { group }: PodRule): number {
  if (group === null || labels[group.label] === undefined) return 0;
  const index = labels[group.indexLabel] ?? "";
  return /^\d{1,4}$/.test(index) ? Number(index) : 0;
}

function replayOf(
  pod: PodFacts,
  rule: PodRule,
  read: Fields,
  hasRanks: boolean,
  at: (port: number) => string,
): Sockets {
  if (read.text("kv-events-replay-port") === NO_REPLAY) return {};
  const ports = read.ports("kv-events-replay-ports");
  if (ports !== null) return { replay_endpoints: ports.map(at) };
  const usual = portOf(pod, rule.replay) ?? (hasRanks ? REPLAY_PORT_OF_RANKS : REPLAY_PORT);
  const port = read.integer("kv-events-replay-port", usual, 1, PORT_MAX);
  return port === 0 ? {} : { replay_endpoint: at(port) };
}

/** What a field of an engine entry is made of, where that is not the ports. */
const FIELD_OF_ENTRY: Readonly<Record<string, string>> = {
  model: `${PREFIX}name`,
  id: "metadata.name",
  first_rank: `${PREFIX}kv-events-first-rank`,
  shared_socket: `${PREFIX}kv-events-shared-socket`,
  dp_size: `${PREFIX}kv-events-dp-size`,
  type: `${PREFIX}engine-type`,
  topic: `${PREFIX}kv-events-topic`,
  report_mode: `${PREFIX}kv-events-report-mode`,
  curve_server_key: `${PREFIX}kv-curve-server-key`,
  aliases: `${PREFIX}aliases`,
  adapters: `${PREFIX}adapters`,
  endpoints: `${PREFIX}kv-events-ports`,
  replay_endpoints: `${PREFIX}kv-events-replay-ports`,
};

function shown(text: string): string {
  return JSON.stringify(text.slice(0, SHOWN_LENGTH));
}

/** Labels and annotations of one pod; the first that is wrong is remembered. */
class Fields {
  readonly #pod: PodFacts;
  /** On those that are only shown and cannot be. */
  readonly remarks: string[] = [];
  malformed: Refusal | null = null;

  constructor(pod: PodFacts) {
    this.#pod = pod;
  }

  /** An annotation goes before a label of the same name: labels cannot hold every name, and who writes both knows that. */
  text(name: string): string | null {
    const key = PREFIX + name;
    const text = this.#pod.annotations[key] ?? this.#pod.labels[key] ?? "";
    return text === "" ? null : text;
  }

  integer<Initial extends number | null>(
    name: string,
    initial: Initial,
    min: number,
    max: number,
  ): number | Initial {
    const value = this.#integerOf(name, min, max);
    if (value !== "unusable") return value ?? initial;
    this.refuse(name, this.#unusable(name, min, max));
    return initial;
  }

  /** One that nothing depends on. */
  shownInteger<Initial extends number | null>(
    name: string,
    initial: Initial,
    min: number,
    max: number,
  ): number | Initial | null {
    const value = this.#integerOf(name, min, max);
    if (value !== "unusable") return value ?? initial;
    this.remarks.push(`${PREFIX}${name}: ${this.#unusable(name, min, max)}; it is not shown`);
    return null;
  }

  #integerOf(name: string, min: number, max: number): number | "unusable" | null {
    const text = this.text(name);
    if (text === null) return null;
    const value = Number(text);
    return /^-?\d{1,10}$/.test(text) && value >= min && value <= max ? value : "unusable";
  }

  #unusable(name: string, min: number, max: number): string {
    return `${shown(this.text(name) ?? "")} is not usable; expected an integer from ${min} to ${max}`;
  }

  /** A list of names. */
  names(name: string): readonly string[] {
    return (this.text(name) ?? "")
      .split(",")
      .map((one) => one.trim())
      .filter((one) => one !== "");
  }

  /** A list of ports; null when there is none. */
  ports(name: string): readonly number[] | null {
    const text = this.text(name);
    if (text === null) return null;
    const ports = text.split(",").map((port) => port.trim());
    const areUsable = ports.every((port) => /^[1-9]\d{0,4}$/.test(port) && Number(port) <= PORT_MAX);
    if (areUsable && ports.length <= DP_RANKS_MAX) return ports.map(Number);
    const expected = `1 to ${DP_RANKS_MAX} ports from 1 to ${PORT_MAX} with commas between, one per DP rank`;
    this.refuse(name, `${shown(text)} is not usable; expected ${expected}`);
    return null;
  }

  refuse(name: string, why: string): void {
    this.refuseKey(PREFIX + name, why);
  }

  /** One that has not our prefix. */
  refuseKey(field: string, why: string): void {
    this.malformed ??= { field, message: `pod ${this.#pod.id}: ${field}: ${why}` };
  }
}
