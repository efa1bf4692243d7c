/**
 * Reads a pod's description of its engine: labels and annotations under `model.aibrix.ai/`, set by
 * operators.
 *
 *     kv-events-enabled      label        "true": this pod publishes KV events; pods without the label never arrive here, and one with "True", "1" or "yes" is malformed: its author wants it followed
 *     name                   annotation   the model's name; label where it has no slash
 *     aliases                annotation   further names that the engine serves the model under, with commas between
 *     adapters               annotation   LoRA adapters that it serves under their own names, likewise
 *     lora-id                label        integer from -1 (none, the default): shown; adapters come from the engine's events
 *     kv-events-port         annotation   port of DP rank 0's events, 5557
 *     kv-events-replay-port  annotation   port of DP rank 0's replay, or "none"; 5558 for one rank, 5657 for several
 *     kv-events-dp-size      annotation   DP ranks in this pod, 1; rank r is at both ports + r
 *     kv-events-shared-socket annotation  "true": all ranks publish through one socket
 *     kv-events-first-rank   annotation   global DP rank of the first one in this pod, 0
 *     kv-events-ports        annotation   instead of port and size: the ports of this pod's ranks in order, with commas between
 *     kv-events-replay-ports annotation   the same for replay
 *     engine-type            annotation   vLLM, SGLang or TensorRT-LLM: a hint for `reusable_tokens`
 *     drops-last-block       annotation   "true": the engine does not reuse its last matched block
 *     kv-events-block-size   annotation   tokens in a block: shown; the size in the engine's events counts
 *
 *     absent address, not running, on its way out ─▶ waiting      a label that cannot be ─▶ malformed      else ─▶ engine
 *     A label that is only shown (lora-id, kv-events-block-size) takes no engine out: it is remarked on, and shown as absent.
 *
 * A pod that is being deleted is dropped at once, as Kubernetes takes it out of its services at
 * that moment. The engine's id is `namespace/name`.
 */

import { isIPv6 } from "node:net";

import { z } from "zod";

import { DP_RANKS_MAX, type Engine, engineEntry } from "../../engine/engine-entry.ts";
import type { EngineFacts, MalformedEngine } from "../engine-sources.ts";

/** What all labels and annotations begin with. */
const PREFIX = "model.aibrix.ai/";
const ENABLED = "kv-events-enabled";
/** Selects the pods that publish. */
export const ENABLED_SELECTOR = `${PREFIX}${ENABLED}=true`;
/** Selects the pods that say whether they publish: one that says it in another way than expected has to be seen to be remarked on. */
export const LABELLED_SELECTOR = `${PREFIX}${ENABLED}`;
/** Ways to say that a pod does not publish. */
const DISABLED = /^(?:false|no|off|0|disabled|)$/i;

const EVENTS_PORT = 5557;
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

const texts = z.record(z.string(), z.string()).nullish();
const podSchema = z.object({
  metadata: z.object({
    name: z.string().min(1),
    namespace: z.string().min(1),
    uid: z.string().default(""),
    resourceVersion: z.string().min(1),
    deletionTimestamp: z.string().nullish(),
    labels: texts,
    annotations: texts,
  }),
  status: z
    .object({
      phase: z.string().nullish(),
      podIP: z.string().nullish(),
      conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
      containerStatuses: z.array(z.object({ containerID: z.string().nullish() })).nullish(),
    })
    .nullish(),
});

type Pod = z.output<typeof podSchema>;

type WaitingReason = "disabled" | "not_running" | "no_address" | "terminating";

/** The field that cannot be used, and why. */
type Refusal = Omit<MalformedEngine, "id">;

/** What a pod amounts to. */
type PodEngine =
  | {
      readonly kind: "engine";
      readonly engine: Engine;
      readonly incarnation: string;
      readonly facts: EngineFacts;
    }
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
 * Reads a pod as the API server sends it.
 *
 * @param pod - parsed JSON.
 * @returns null when it is no pod at all.
 */
export function readPod(pod: unknown): PodReading | null {
  const parsed = podSchema.safeParse(pod);
  if (!parsed.success) return null;
  const { name, namespace, resourceVersion } = parsed.data.metadata;
  const id = `${namespace}/${name}`;
  return { id, resourceVersion, found: engineOf(id, parsed.data) };
}

function engineOf(id: string, pod: Pod): PodEngine {
  const why = waitingReason(pod);
  return why === null ? publishingEngine(id, pod) : { kind: "waiting", why };
}

/** `null` when the pod runs, has an address, and has labels to read. */
function waitingReason({ metadata, status }: Pod): WaitingReason | null {
  if (DISABLED.test(enablingText(metadata))) return "disabled";
  if (metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null) return "terminating";
  if (status?.phase !== "Running") return "not_running";
  return addressOf(status) === "" ? "no_address" : null;
}

function enablingText({ labels }: Pod["metadata"]): string {
  return labels?.[PREFIX + ENABLED] ?? "true";
}

function addressOf(status: Pod["status"]): string {
  return status?.podIP ?? "";
}

/** Reads a pod that does not wait. */
function publishingEngine(id: string, { metadata, status }: Pod): PodEngine {
  const read = new Fields(metadata);
  const enabled = enablingText(metadata);
  const address = addressOf(status);
  const model = read.text("name");
  if (enabled !== "true") read.refuse(ENABLED, `${shown(enabled)} does not enable it; expected "true"`);
  const loraId = read.shownInteger("lora-id", LORA_NONE, LORA_NONE, LORA_ID_MAX);
  const blockSize = read.shownInteger("kv-events-block-size", null, 1, BLOCK_SIZE_MAX);
  const sockets = socketsOf(isIPv6(address) ? `[${address}]` : address, read);
  if (model === null) read.refuse("name", "expected a label or an annotation with the model's name");
  if (read.malformed !== null) return { kind: "malformed", id, ...read.malformed };
  const entry = engineEntry.safeParse({
    id,
    model,
    aliases: read.names("aliases"),
    adapters: read.names("adapters"),
    type: read.text("engine-type") ?? undefined,
    drops_last_block: flagOf(read.text("drops-last-block")),
    ...sockets,
  });
  if (!entry.success) return { kind: "malformed", id, ...refusedEntry(id, entry.error) };
  const facts = { lora_id: loraId, block_size: blockSize, pod_ip: address, remarks: read.remarks };
  return { kind: "engine", engine: entry.data, incarnation: incarnationOf(metadata.uid, status), facts };
}

function refusedEntry(id: string, { issues: [issue] }: z.ZodError): Refusal {
  const field = FIELD_OF_ENTRY[String(issue?.path[0])] ?? `${PREFIX}kv-events-port`;
  return { field, message: `pod ${id}: ${field}: expected ${issue?.message ?? "an engine"}` };
}

/** A flag that was not set is left to the entry's default. */
function flagOf(text: string | null): boolean | undefined {
  return text === null ? undefined : text === "true";
}

/** The parts of an engine entry that say where its ranks are. */
function socketsOf(host: string, read: Fields): object {
  const at = (port: number): string => `tcp://${host}:${port}`;
  const first_rank = read.integer("kv-events-first-rank", 0, 0, DP_RANKS_MAX - 1);
  const hasReplay = read.text("kv-events-replay-port") !== NO_REPLAY;
  const eventsPorts = read.ports("kv-events-ports");
  const replayPorts = read.ports("kv-events-replay-ports");
  const size = read.integer("kv-events-dp-size", eventsPorts?.length ?? 1, 1, DP_RANKS_MAX);
  const usualReplayPort = first_rank + size > 1 ? REPLAY_PORT_OF_RANKS : REPLAY_PORT;
  const replayPort = hasReplay ? read.integer("kv-events-replay-port", usualReplayPort, 1, PORT_MAX) : 0;
  const events =
    eventsPorts === null
      ? { endpoint: at(read.integer("kv-events-port", EVENTS_PORT, 1, PORT_MAX)) }
      : { endpoints: eventsPorts.map(at) };
  const replay = !hasReplay
    ? {}
    : replayPorts !== null
      ? { replay_endpoints: replayPorts.map(at) }
      : { replay_endpoint: at(replayPort) };
  const shared_socket = read.text("kv-events-shared-socket") === "true";
  return { first_rank, dp_size: size, shared_socket, ...events, ...replay };
}

/** What a field of an engine entry is made of, where that is not the ports. */
const FIELD_OF_ENTRY: Readonly<Record<string, string>> = {
  model: `${PREFIX}name`,
  id: "metadata.name",
  first_rank: `${PREFIX}kv-events-first-rank`,
  shared_socket: `${PREFIX}kv-events-shared-socket`,
  dp_size: `${PREFIX}kv-events-dp-size`,
  type: `${PREFIX}engine-type`,
  aliases: `${PREFIX}aliases`,
  adapters: `${PREFIX}adapters`,
  endpoints: `${PREFIX}kv-events-ports`,
  replay_endpoints: `${PREFIX}kv-events-replay-ports`,
};

/** Differs once a container was started anew, and once the pod has become ready: then the engine may have begun to listen. */
function incarnationOf(uid: string, status: Pod["status"]): string {
  const containers = (status?.containerStatuses ?? []).map(({ containerID }) => containerID ?? "");
  const isReady = (status?.conditions ?? []).some((one) => one.type === "Ready" && one.status === "True");
  return [uid, ...containers, isReady ? "ready" : "not ready"].join(" ");
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, SHOWN_LENGTH));
}

/** Labels and annotations of one pod; the first that is wrong is remembered. */
class Fields {
  readonly #pod: Pod["metadata"];
  /** On those that are only shown and cannot be. */
  readonly remarks: string[] = [];
  malformed: Refusal | null = null;

  constructor(pod: Pod["metadata"]) {
    this.#pod = pod;
  }

  /** An annotation goes before a label of the same name: labels cannot hold every name, and who writes both knows that. */
  text(name: string): string | null {
    const key = PREFIX + name;
    const text = this.#pod.annotations?.[key] ?? this.#pod.labels?.[key] ?? "";
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
    const field = PREFIX + name;
    const { namespace, name: pod } = this.#pod;
    this.malformed ??= { field, message: `pod ${namespace}/${pod}: ${field}: ${why}` };
  }
}
