/**
 * One engine as people describe it (configuration file, `POST /api/v1/engines`), and as the daemon uses it.
 *
 *   entry { id, model, endpoint, dp_size … }  ──parse──▶  Engine { id, model, ranks: [{dpRank, endpoint, replayEndpoint}] }
 *
 * DP ranks publish on ports of their own: rank r at port + r, for events and for replay alike
 * (vLLM's `offset_endpoint_port`, vllm/distributed/kv_events.py). So the two base ports must be at
 * least `dp_size` apart, or ranks of one engine would read each other's sockets. This is checked
 * here. Ranks are global: each node of an engine on several nodes has its own entry, which begins
 * at `first_rank`. The node's rank r is still at port + r.
 *
 * An engine may connect where others listen: vLLM's publisher does when its endpoint has no `*`
 * (same file, `_socket_setup`). With `bind` the daemon listens at `endpoint`, an address of its own
 * machine, and the engine connects. The daemon still connects to the replay socket.
 */

import { isIP } from "node:net";

import { REPORT_MODES, type ReportMode } from "@kvsync/core";
import { z } from "zod";

import { CURVE_KEY_EXPECTED, isCurveKey } from "./curve-key.ts";
import { ENGINE_TYPE_EXPECTED, ENGINE_TYPES, type EngineType, engineTypeOf } from "./engine-type.ts";
import { isWellFormed, WELL_FORMED_EXPECTED } from "./well-formed.ts";

/** DP ranks of one engine, over all of its nodes. The largest published deployments use hundreds; the bound keeps one entry from taking every slot. */
export const DP_RANKS_MAX = 1024;

/**
 * Length of an id. A pod's `namespace/name` has up to 63 + 1 + 253 = 317 characters; a registration by the community's API
 * puts its tenant in front and `/dp` with the rank behind.
 */
const ID_LENGTH_MAX = 512;
/** Length of a model's name. */
export const NAME_LENGTH_MAX = 128;
/** Further names that one engine serves its model under. */
export const ALIASES_MAX = 16;
/** Adapters named in one entry; those that stored anything are known without it. */
export const ADAPTERS_MAX = 256;
/** Length of an endpoint or topic. */
const ENDPOINT_LENGTH_MAX = 256;
const PORT_MAX = 65_535;
const HTTP_EXPECTED = "ip:port (port 1-65535, an IPv6 address in brackets)";

/**
 * What an endpoint looks like; its port is the first group, and checked apart. An IPv6 address stands in brackets, or its last
 * group would be taken for the port. `source;host` names the address to dial from, as libzmq has it.
 */
export const ENDPOINT =
  /^(?:ipc:\/\/\S+|tcp:\/\/(?:\[[^\s\][/*]+\]|[^\s\][/*:;]+|[^\s/*]+;[^\s/*]+):([1-9]\d{0,4}))$/;
/** The same for people. */
export const ENDPOINT_EXPECTED =
  "tcp://host:port (port 1-65535, host not a wildcard, an IPv6 address in brackets) or ipc://path";
const ID_EXPECTED = `1-${ID_LENGTH_MAX} characters of A-Z a-z 0-9 . _ : / -`;

const id = z
  .string(ID_EXPECTED)
  .max(ID_LENGTH_MAX, ID_EXPECTED)
  .regex(/^[A-Za-z0-9._:/-]+$/, ID_EXPECTED);
const model = z
  .string("a model name")
  .min(1, "a model name")
  .max(NAME_LENGTH_MAX, `a model name of at most ${NAME_LENGTH_MAX} characters`)
  .refine(isWellFormed, `a model name of ${WELL_FORMED_EXPECTED}`);
const endpoint = z
  .string(ENDPOINT_EXPECTED)
  .max(ENDPOINT_LENGTH_MAX, ENDPOINT_EXPECTED)
  .regex(ENDPOINT, ENDPOINT_EXPECTED)
  .refine((text) => Number(ENDPOINT.exec(text)?.[1] ?? 1) <= PORT_MAX, ENDPOINT_EXPECTED)
  .describe("tcp://host:port or ipc://path");
const FIRST_RANK_EXPECTED = `the first of the engine's DP ranks here, an integer from 0 to ${DP_RANKS_MAX - 1}`;
const DP_SIZE_EXPECTED = `an integer from 1 to ${DP_RANKS_MAX}`;
const endpointList = z
  .array(endpoint, `a list of 1-${DP_RANKS_MAX} endpoints, one per DP rank`)
  .min(1, "at least one endpoint")
  .max(DP_RANKS_MAX, `at most ${DP_RANKS_MAX} endpoints`);

/** What can be sent to: names are not resolved, since a gateway's answer has addresses. */
const httpAddress = z
  .string(HTTP_EXPECTED)
  .refine((text) => normalizedHttp(text) !== null, HTTP_EXPECTED)
  .transform((text) => normalizedHttp(text) ?? text);
const HTTP_LIST_EXPECTED = "a list of ip:port: one, or one per DP rank";

const ALIASES_EXPECTED = `a list of at most ${ALIASES_MAX} further names of the model`;
const ADAPTERS_EXPECTED = `a list of at most ${ADAPTERS_MAX} names of LoRA adapters`;

const fields = z.strictObject({
  id,
  model,
  aliases: z
    .array(model, ALIASES_EXPECTED)
    .max(ALIASES_MAX, ALIASES_EXPECTED)
    .default([])
    .describe("Further names that the engine serves the model under; lookups may name any of them."),
  adapters: z
    .array(model, ADAPTERS_EXPECTED)
    .max(ADAPTERS_MAX, ADAPTERS_EXPECTED)
    .default([])
    .describe("LoRA adapters that it serves under their own names, known before they have stored anything."),
  endpoint: endpoint.optional(),
  endpoints: endpointList.optional(),
  replay_endpoint: endpoint.optional(),
  replay_endpoints: endpointList.optional(),
  dp_size: z.int(DP_SIZE_EXPECTED).min(1, DP_SIZE_EXPECTED).max(DP_RANKS_MAX, DP_SIZE_EXPECTED).optional(),
  first_rank: z
    .int(FIRST_RANK_EXPECTED)
    .min(0, FIRST_RANK_EXPECTED)
    .max(DP_RANKS_MAX - 1, FIRST_RANK_EXPECTED)
    .default(0)
    .describe("Global DP rank of the first one here: 8 on the second node of an engine with eight a node."),
  shared_socket: z
    .boolean("true or false")
    .default(false)
    .describe(
      "All dp_size ranks publish through endpoint, distinguished by data_parallel_rank in their batches.",
    ),
  bind: z
    .boolean("true or false")
    .default(false)
    .describe("The daemon listens at endpoint and the engine connects; in the configuration file alone."),
  http: z
    .array(httpAddress, HTTP_LIST_EXPECTED)
    .max(DP_RANKS_MAX, HTTP_LIST_EXPECTED)
    .default([])
    .describe("Where it serves OpenAI's API, for the endpoint picker: one ip:port, or one per DP rank."),
  curve_server_key: z
    .string(CURVE_KEY_EXPECTED)
    .refine(isCurveKey, CURVE_KEY_EXPECTED)
    .optional()
    .describe("The engine's CURVE public key, instead of that in curve.server_key_file."),
  topic: z
    .string("a topic")
    .max(ENDPOINT_LENGTH_MAX, `at most ${ENDPOINT_LENGTH_MAX} characters`)
    .refine(isWellFormed, `a topic of ${WELL_FORMED_EXPECTED}`)
    .default(""),
  report_mode: z.enum(REPORT_MODES, 'one of "auto", "delta", "full"').default("auto"),
  type: z
    .string(ENGINE_TYPE_EXPECTED)
    .refine((text) => engineTypeOf(text) !== null, ENGINE_TYPE_EXPECTED)
    .optional()
    .describe("vLLM, SGLang or TensorRT-LLM; a hint for reusable_tokens."),
  drops_last_block: z
    .boolean("true or false")
    .optional()
    .describe(
      "vLLM with EAGLE, EAGLE3 or MTP whose hashes do not look ahead: before 0.33, or with a KV connector. Its last matched block is not reused.",
    ),
});

/** One DP rank's sockets. */
export interface EngineRank {
  readonly dpRank: number;
  /** Where it publishes events. */
  readonly endpoint: string;
  /** Where it answers replay requests; null when it does not, and then a gap cannot be repaired. */
  readonly replayEndpoint: string | null;
}

/** One engine to follow, normalised: two entries that mean the same are equal. */
export interface Engine {
  readonly id: string;
  readonly model: string;
  /** Further names of the model, in order of the alphabet and without repetitions. */
  readonly aliases: readonly string[];
  /** Adapters served under their own names, likewise. */
  readonly adapters: readonly string[];
  /** The topic that it publishes under; empty for any. */
  readonly topic: string;
  /** Whether the daemon listens at the ranks' endpoints, and the engine connects. */
  readonly bind: boolean;
  /** Its own CURVE public key in Z85; null for that of the fleet, or none. */
  readonly curveServerKey: string | null;
  /** What the operator knows of reports (core, sync-settings.ts). */
  readonly reportMode: ReportMode;
  /** Null when nobody said. */
  readonly type: EngineType | null;
  /** Whether the last matched block is computed again (query/reusable-tokens.ts, U2); null when nobody said. */
  readonly dropsLastBlock: boolean | null;
  /** Whether all ranks publish through one socket. */
  readonly sharedSocket: boolean;
  /** Where requests can be sent: `ip:port`, one for all ranks, one for each, or none. */
  readonly http: readonly string[];
  readonly ranks: readonly EngineRank[];
}

function ranksOf(entry: z.output<typeof fields>, size: number): readonly EngineRank[] {
  return Array.from({ length: size }, (_, i): EngineRank => {
    const dpRank = entry.first_rank + i;
    const at = (base: string): string => (entry.shared_socket ? base : endpointOfRank(base, dpRank));
    return {
      dpRank,
      endpoint: entry.endpoints?.[i] ?? at(entry.endpoint ?? ""),
      replayEndpoint:
        entry.replay_endpoints?.[i] ??
        (entry.replay_endpoint === undefined ? null : at(entry.replay_endpoint)),
    };
  });
}

/** What of an entry's fields does not fit together, or null. */
function contradictionIn(
  entry: z.output<typeof fields>,
  size: number,
): { readonly field: keyof z.output<typeof fields>; readonly why: string } | null {
  if ((entry.endpoint === undefined) === (entry.endpoints === undefined))
    return { field: "endpoint", why: "either endpoint (with dp_size) or endpoints, one of the two" };
  if (entry.replay_endpoint !== undefined && entry.replay_endpoints !== undefined)
    return { field: "replay_endpoint", why: "either replay_endpoint or replay_endpoints, not both" };
  for (const field of ["endpoints", "replay_endpoints"] as const)
    if (entry[field] !== undefined && entry[field].length !== size)
      return { field, why: `${size} endpoints, one per DP rank` };
  const last = entry.first_rank + size - 1;
  if (last >= DP_RANKS_MAX)
    return {
      field: "first_rank",
      why: `DP ranks up to ${DP_RANKS_MAX - 1}; the last one would be ${last}`,
    };
  // Only the side that has the server's key can refuse a peer, and with CURVE that is the engine.
  if (entry.bind && entry.curve_server_key !== undefined)
    return {
      field: "curve_server_key",
      why: "no key with bind: engines that connect are not spoken to with CURVE",
    };
  if (entry.shared_socket && (entry.endpoints ?? entry.replay_endpoints) !== undefined)
    return {
      field: "shared_socket",
      why: "endpoint and replay_endpoint, which all ranks share, and no lists",
    };
  return null;
}

/** What keeps addresses from being endpoints, or null. */
function whyNotHttp(http: readonly string[], size: number): string | null {
  if (http.length > 1 && http.length !== size)
    return size === 1 ? "one address" : `one address, or ${size}: one per DP rank`;
  return new Set(http).size < http.length ? "distinct addresses, one per DP rank" : null;
}

/** The one way to write an address, as gateways write it; null for anything else. */
function normalizedHttp(text: string): string | null {
  const [, bracketed, plain, port = "0"] =
    /^(?:\[([\da-fA-F:.]{2,45})\]|([\d.]{7,15})):(\d{1,5})$/.exec(text) ?? [];
  const isAddress = bracketed === undefined ? isIP(plain ?? "") === 4 : isIP(bracketed) === 6;
  if (!isAddress || Number(port) < 1 || Number(port) > PORT_MAX) return null;
  const host = bracketed === undefined ? plain : new URL(`http://[${bracketed}]`).hostname;
  return `${host}:${Number(port)}`;
}

/** What an entry looks like, checked and normalised to an `Engine`. */
export const engineEntry = fields.transform((entry, context): Engine => {
  const fail = (path: string, input: unknown, message: string): never => {
    context.issues.push({ code: "custom", path: [path], input, message });
    return z.NEVER;
  };
  const size = entry.dp_size ?? entry.endpoints?.length ?? 1;
  const contradiction = contradictionIn(entry, size);
  if (contradiction !== null) return fail(contradiction.field, entry[contradiction.field], contradiction.why);
  const unusableHttp = whyNotHttp(entry.http, size);
  if (unusableHttp !== null) return fail("http", entry.http, unusableHttp);
  const isShared = entry.shared_socket;
  const ranks = ranksOf(entry, size);
  const unbindable = entry.bind ? whyNotBindable(isShared, ranks) : null;
  if (unbindable !== null) return fail(unbindable.field, entry[unbindable.field], unbindable.why);
  // Of ranks that share their sockets one says all that there is to check.
  const unusable = unusableSocket(
    isShared ? ranks.slice(0, 1) : ranks,
    entry.endpoints === undefined && !isShared,
  );
  if (unusable !== null) {
    return fail(
      unusable.field,
      unusable.field === "endpoint" ? unusable.used : entry[unusable.field],
      unusable.why,
    );
  }
  return {
    id: entry.id,
    model: entry.model,
    aliases: distinct(entry.aliases),
    adapters: distinct(entry.adapters),
    topic: entry.topic,
    bind: entry.bind,
    curveServerKey: entry.curve_server_key ?? null,
    reportMode: entry.report_mode,
    type: entry.type === undefined ? null : engineTypeOf(entry.type),
    dropsLastBlock: entry.drops_last_block ?? null,
    sharedSocket: entry.shared_socket,
    http: entry.http,
    ranks,
  };
});

/** The field that keeps the daemon from listening for an engine. */
function whyNotBindable(
  isShared: boolean,
  ranks: readonly EngineRank[],
): { readonly field: "bind" | "endpoint"; readonly why: string } | null {
  if (isShared)
    return { field: "bind", why: "false with shared_socket: each rank connects to a port of its own" };
  if (ranks.every(({ endpoint: events }) => isBindable(events))) return null;
  return {
    field: "endpoint",
    why: "with bind tcp://address:port, an address of this machine, 0.0.0.0 or [::]",
  };
}

/** Names are not resolved to listen, and a path has no peer's address to check. */
function isBindable(events: string): boolean {
  const [, bracketed, plain] = /^tcp:\/\/(?:\[([^\]]+)\]|([^:;[\]]+)):\d+$/.exec(events) ?? [];
  return isIP(bracketed ?? "") === 6 || isIP(plain ?? "") === 4;
}

function distinct(names: readonly string[]): readonly string[] {
  return [...new Set(names)].sort();
}

/** The first socket that cannot be what it should be, and the field that makes it so. */
function unusableSocket(
  ranks: readonly EngineRank[],
  isCounted: boolean,
): {
  readonly field: "endpoint" | "dp_size" | "first_rank";
  readonly used: string;
  readonly why: string;
} | null {
  const seen = new Set<string>();
  const first = ranks[0]?.dpRank ?? 0;
  for (const { dpRank, endpoint: events, replayEndpoint } of ranks) {
    for (const used of replayEndpoint === null ? [events] : [events, replayEndpoint]) {
      const port = /^tcp:.*:(\d+)$/.exec(used)?.[1];
      if (port !== undefined && Number(port) > PORT_MAX) {
        const why = `ports up to ${PORT_MAX}; DP rank ${dpRank} would use ${used}`;
        return { field: first > 0 ? "first_rank" : "dp_size", used, why };
      }
      if (used.startsWith("ipc:") && first + ranks.length > 1 && isCounted) {
        const why = "endpoints, one per DP rank: ports cannot be counted up for ipc";
        return { field: "endpoint", used, why };
      }
      if (seen.has(used)) {
        const why = `distinct sockets per DP rank; ${used} is used twice (keep base ports ${ranks.length} apart, or set shared_socket)`;
        return { field: "endpoint", used, why };
      }
      seen.add(used);
    }
  }
  return null;
}

/** A normalised engine, as it is kept in files: what `engineEntry` gives, with DP ranks of any number. */
export const storedEngine: z.ZodType<Engine> = z.strictObject({
  id,
  model,
  topic: z.string("a topic prefix").max(ENDPOINT_LENGTH_MAX),
  reportMode: z.enum(REPORT_MODES),
  // Files of earlier versions have none of these.
  aliases: z.array(model).max(ALIASES_MAX).default([]),
  adapters: z.array(model).max(ADAPTERS_MAX).default([]),
  type: z.enum(ENGINE_TYPES).nullable().default(null),
  dropsLastBlock: z.boolean().nullable().default(null),
  sharedSocket: z.boolean().default(false),
  http: z.array(httpAddress).max(DP_RANKS_MAX).default([]),
  bind: z.boolean().default(false),
  curveServerKey: z.string().refine(isCurveKey, CURVE_KEY_EXPECTED).nullable().default(null),
  ranks: z
    .array(
      z.strictObject({
        dpRank: z.int("a DP rank").min(0, "a DP rank"),
        endpoint,
        replayEndpoint: endpoint.nullable(),
      }),
      "a list of ranks",
    )
    .min(1, "at least one rank")
    .max(DP_RANKS_MAX, `at most ${DP_RANKS_MAX} ranks`),
});

/** What may be written in an entry, before defaults. */
export type EngineEntryInput = z.input<typeof engineEntry>;

/**
 * The socket of a DP rank: the base port plus the rank.
 *
 * @param base - rank 0's endpoint.
 * @param dpRank - 0-based.
 * @returns the endpoint; `base` itself for rank 0 and for anything but tcp.
 */
export function endpointOfRank(base: string, dpRank: number): string {
  const colon = base.lastIndexOf(":");
  if (dpRank === 0 || !base.startsWith("tcp://")) return base;
  return `${base.slice(0, colon)}:${Number(base.slice(colon + 1)) + dpRank}`;
}
