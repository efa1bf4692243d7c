/**
 * Every route of the HTTP API, with the schemas that its requests are checked by and its answers are made of. The OpenAPI document is made from
 * this and nothing else; a test compares it with the routes of a running application, both ways.
 */

import { GROUP_KINDS, GROUP_RULES, type GroupRule, GROUPS_PER_RANK_MAX } from "@kvsync/core";
import { DISCOVERY_STATES } from "@kvsync/observability";
import { z } from "zod";

import { engineEntry } from "../engine/engine-entry.ts";
import { ENGINE_SOURCES, REFUSAL_REASONS } from "../discovery/engine-sources.ts";
import { HEALTH_STATUSES } from "../health/health-checks.ts";
import type { ProblemCode } from "./problem-status.ts";
import { logLevelBody } from "../log/level-control.ts";
import type { AccessRule } from "../security/access-guard.ts";
import {
  dumpList,
  globalView,
  queryAnswer,
  queryBody,
  queryByHashBody,
  registerBody,
  serviceList,
  unregisterBody,
  workerList,
} from "../community/community-api.ts";
import { matchAnswer, trustLevel, trustReason, trustSince } from "../query/match-answer.ts";
import { binaryParameters, jsonBody } from "../query/match-query.ts";

/** A body: JSON by a schema, or bytes or text of a media type. */
export type Content =
  | { readonly schema: z.ZodType }
  | { readonly mediaType: string; readonly description: string };

/** One route, with what it asks of its caller. */
export interface Operation extends AccessRule {
  readonly method: "get" | "post" | "put" | "delete";
  /** As in OpenAPI, parameters in braces. */
  readonly path: string;
  readonly id: string;
  readonly tag: "lookups" | "engines" | "operations" | "community";
  readonly summary: string;
  /** Query parameters, an object schema. */
  readonly query?: z.ZodObject;
  readonly bodies?: readonly Content[];
  /** By status; several are one answer in several media types. */
  readonly answers: Readonly<Record<number, Content | readonly Content[] | null>>;
  /** Codes of problems beside those that every route can have. */
  readonly problems: readonly ProblemCode[];
}

const count = z.int().min(0);
const time = z.iso.datetime();
const matchRequest = jsonBody.meta({
  id: "MatchRequest",
  description: "A lookup with exactly one of token_ids, prefix_hashes, prompt, messages.",
  examples: [{ model: "demo/model", token_ids: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16] }],
});
const cacheGroup = z
  .strictObject({
    index: count.nullable().describe("The engine's number of the group; null when its events have none."),
    is_main: z.boolean().describe("Whether the group's blocks are what `held_tokens` counts."),
    kind: z
      .enum(GROUP_KINDS)
      .describe(
        "vLLM's name. `none`: events name no kind. `unknown`: a name that this version does not know.",
      ),
    rule: z
      .enum(Object.keys(GROUP_RULES) as [GroupRule])
      .describe(
        "Blocks that a match needs: all (`run`), those of the window before its end (`window`), its last (`last`), or those of the chunk that it ends in (`chunk`).",
      ),
    window_tokens: count.nullable().describe("Tokens of the window or chunk; null for other rules."),
    block_size: count.describe("Tokens of a block."),
  })
  .meta({ id: "CacheGroup", description: "What an engine keeps of a prompt for one kind of its layers." });
const rankReport = z
  .looseObject({
    dp_rank: count,
    rank_slot: count.describe("As in dumps."),
    state: z.string(),
    trust: trustLevel,
    trust_reason: trustReason.nullable().describe("Null exactly when trust is exact."),
    trust_since: trustSince,
    connected: z.boolean(),
    endpoint: z.string().nullable(),
    replay_endpoint: z.string().nullable(),
    last_sequence_number: count.nullable(),
    last_event_age_seconds: z.number().nullable(),
    blocks_held: count.describe("In the index, each counted once, whatever the tiers."),
    groups: z
      .array(cacheGroup)
      .max(1 + GROUPS_PER_RANK_MAX)
      .describe("KV-cache groups that the rank has stored to; the main group is the first."),
  })
  .meta({ id: "RankReport", description: "How one rank's stream is doing." });
const engineSource = z
  .enum(ENGINE_SOURCES)
  .meta({ id: "EngineSource", description: "Where an engine is known from." });
const engineReport = z
  .looseObject({
    id: z.string(),
    model: z.string(),
    source: engineSource,
    // Free-form: generators for typed languages fail on a map of either texts or numbers.
    found: z.looseObject({}).nullable().describe("What its source knows beside it, such as a pod's labels."),
    ranks: z.array(rankReport),
  })
  .meta({ id: "EngineReport", description: "An engine and how each of its streams is doing." });
const sourceReport = z
  .looseObject({
    source: engineSource,
    state: z.enum(DISCOVERY_STATES),
    engines: count.describe("That it wants followed."),
    last_success: time.nullable(),
    failure: z
      .looseObject({ reason: z.string(), message: z.string(), at: time })
      .meta({ id: "EngineSourceFailure" })
      .nullable(),
  })
  .meta({ id: "EngineSourceReport", description: "A source of engines and how it does." });
const refusalReport = z
  .looseObject({
    source: engineSource,
    id: z.string(),
    reason: z.enum(REFUSAL_REASONS),
    field: z.string().nullable(),
    winner: z
      .looseObject({ source: engineSource, id: z.string() })
      .meta({ id: "EngineRefusalWinner", description: "The engine that is followed instead." })
      .nullable(),
    message: z.string(),
  })
  .meta({
    id: "EngineRefusal",
    description: "An engine that a source wants and that is not followed for it.",
  });
const engineList = z
  .looseObject({
    engines: z.array(engineReport),
    sources: z.array(sourceReport),
    refused_total: count,
    refused: z.array(refusalReport).describe("The first 256."),
  })
  .meta({ id: "EngineList", description: "What is followed, what wants it, and what is not followed." });
const registered = z
  .looseObject({ engine: engineReport })
  .meta({ id: "RegisteredEngine", description: "The engine, with addresses in place of names." });
const engineEntryBody = engineEntry.meta({
  id: "EngineEntry",
  description: "An engine, as in the configuration file: either endpoint (with dp_size) or endpoints.",
});
const loose = z.looseObject({});
const status = z.looseObject({ status: z.string() }).meta({ id: "Status", description: "How it went." });
const readiness = z
  .looseObject({
    status: z.enum(["ready", "not_ready"]),
    reason: z.string(),
    conditions: z
      .array(
        z.looseObject({ name: z.string(), ok: z.boolean(), reason: z.string() }).meta({ id: "Condition" }),
      )
      .optional()
      .describe("With verbose."),
    process: z
      .looseObject({
        version: z.string(),
        commit: z.string().nullable(),
        node: z.string(),
        config_file: z.string().nullable(),
        settings_from: z.array(z.string()).describe("Sources of settings outside the file."),
      })
      .meta({ id: "Process", description: "What runs, and how it was started." })
      .optional()
      .describe("With verbose."),
  })
  .meta({ id: "Readiness" });
const healthStatus = z.enum(HEALTH_STATUSES).meta({ id: "HealthStatus" });
const healthReport = z
  .looseObject({
    status: healthStatus,
    version: z.string(),
    uptime_seconds: z.number(),
    timestamp: time,
    checks: z.record(
      z.string(),
      z
        .looseObject({
          name: z.string(),
          status: healthStatus,
          message: z.string(),
          duration_ms: z.number(),
          timestamp: time,
          details: loose,
          critical: z.boolean(),
        })
        .meta({ id: "HealthCheck" }),
    ),
    summary: z.looseObject({ total: count, critical: count }).meta({ id: "HealthSummary" }),
    system_info: loose,
  })
  .meta({ id: "HealthReport" });
const syncHealthReport = z
  .looseObject({
    status: healthStatus,
    models: z.record(
      z.string(),
      z
        .looseObject({
          status: healthStatus,
          active_connections: count,
          event_rate: z.number().nullable(),
          last_event: time.nullable(),
          errors: count,
        })
        .meta({ id: "ModelSyncHealth" }),
    ),
    last_updated: time,
  })
  .meta({ id: "SyncHealthReport" });
const octets = (description: string): Content => ({ mediaType: "application/octet-stream", description });
const scrape: Content = { mediaType: "text/plain", description: "Prometheus text format." };
const readinessAnswer: readonly Content[] = [
  { schema: readiness },
  {
    mediaType: "text/plain",
    description: "With verbose, and text/plain accepted: a line for each condition.",
  },
];
const lookupProblems = [
  "malformed_body",
  "contradictory_fields",
  "unknown_model",
  "wrong_block_size",
  "block_size_required",
  "ambiguous_model",
  "prefix_hashes_secret",
  "too_many_tokens",
] as const;

const logLevelState = z
  .looseObject({ level: count, configured_level: count, until: time.nullable() })
  .meta({ id: "LogLevel" });
const REGISTRATION_PROBLEMS = [
  "malformed_body",
  "engine_conflict",
  "endpoint_not_allowed",
  "endpoint_unresolvable",
  "registry_full",
] as const;

/** All of them. */
export const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/api/v1/match",
    id: "match",
    access: "read",
    tag: "lookups",
    summary: "Who holds how many leading blocks of a prompt. The query parameters are for binary bodies.",
    query: binaryParameters.partial(),
    bodies: [
      { schema: matchRequest },
      octets("u32 little-endian token ids, or u64 little-endian hashes with input=prefix_hashes"),
    ],
    answers: { 200: { schema: matchAnswer } },
    problems: lookupProblems,
  },
  {
    method: "get",
    path: "/api/v1/dump",
    id: "dumpIndex",
    access: "admin",
    tag: "operations",
    summary: "Everything the index holds of a model.",
    query: z.strictObject({ model: z.string().min(1) }),
    answers: {
      200: octets(
        "A line of JSON, then records of 24 bytes as it describes them. The header x-kvsync-applied-before says how many messages were applied before.",
      ),
    },
    problems: ["malformed_body", "unknown_model"],
  },
  {
    method: "get",
    path: "/api/v1/engines",
    id: "listEngines",
    access: "read",
    tag: "engines",
    summary:
      "Engines and how each of their streams is doing; sources of engines, and what they want in vain.",
    answers: { 200: { schema: engineList } },
    problems: [],
  },
  {
    method: "post",
    path: "/api/v1/engines",
    id: "registerEngine",
    access: "admin",
    tag: "engines",
    summary: "Registers an engine; the same again changes nothing.",
    bodies: [{ schema: engineEntryBody }],
    answers: {
      200: { schema: registered },
      201: { schema: registered },
    },
    problems: REGISTRATION_PROBLEMS,
  },
  {
    method: "delete",
    path: "/api/v1/engines/{id}",
    id: "removeEngine",
    access: "admin",
    tag: "engines",
    summary: "Removes an engine that was registered over HTTP: at once from lookups, soon from the index.",
    answers: { 204: null },
    problems: ["unknown_engine", "stated_elsewhere"],
  },
  {
    method: "post",
    path: "/register",
    id: "communityRegister",
    access: "admin",
    tag: "community",
    summary: "Registers one DP rank, in Mooncake's or Dynamo's form.",
    bodies: [{ schema: registerBody }],
    answers: { 200: { schema: status }, 201: { schema: status } },
    problems: REGISTRATION_PROBLEMS,
  },
  {
    method: "post",
    path: "/unregister",
    id: "communityUnregister",
    access: "admin",
    tag: "community",
    summary: "Removes one DP rank or all of an instance, in either form.",
    bodies: [{ schema: unregisterBody }],
    answers: { 200: { schema: status } },
    problems: ["malformed_body", "unknown_instance"],
  },
  {
    method: "post",
    path: "/query",
    id: "communityQuery",
    access: "read",
    tag: "community",
    summary: "Cached tokens by instance, in either form.",
    bodies: [{ schema: queryBody }],
    answers: { 200: { schema: queryAnswer } },
    problems: lookupProblems,
  },
  {
    method: "post",
    path: "/query_by_hash",
    id: "communityQueryByHash",
    access: "read",
    tag: "community",
    summary: "The same by hashes: Mooncake's rolling ones, or Dynamo's local ones.",
    bodies: [{ schema: queryByHashBody }],
    answers: { 200: { schema: queryAnswer } },
    problems: lookupProblems,
  },
  {
    method: "get",
    path: "/services",
    id: "communityServices",
    access: "read",
    tag: "community",
    summary: "Publishers registered here, as Mooncake lists them.",
    answers: { 200: { schema: serviceList } },
    problems: [],
  },
  {
    method: "get",
    path: "/workers",
    id: "communityWorkers",
    access: "read",
    tag: "community",
    summary: "Instances and the endpoints of their ranks, as Dynamo lists them.",
    answers: { 200: { schema: workerList } },
    problems: [],
  },
  {
    method: "get",
    path: "/global_view",
    id: "communityGlobalView",
    access: "read",
    tag: "community",
    summary: "Contexts and the ranks that serve them, as Mooncake lists them.",
    answers: { 200: { schema: globalView } },
    problems: [],
  },
  {
    method: "get",
    path: "/dump",
    id: "communityDump",
    access: "admin",
    tag: "community",
    summary: "All blocks by context, as JSON.",
    answers: { 200: { schema: dumpList } },
    problems: [],
  },
  {
    method: "get",
    path: "/livez",
    id: "livez",
    access: "open",
    tag: "operations",
    summary: "Whether the process turns.",
    answers: { 200: { schema: status } },
    problems: [],
  },
  {
    method: "get",
    path: "/readyz",
    id: "readyz",
    access: "open",
    accessWith: { verbose: "monitoring" },
    tag: "operations",
    summary:
      "Whether to send traffic here; with verbose, every condition and its reason, as text where that is accepted.",
    query: z.strictObject({ verbose: z.string().optional() }),
    answers: { 200: readinessAnswer, 503: readinessAnswer },
    problems: [],
  },
  ...(["/health", "/api/v1/health"] as const).map(
    (path): Operation => ({
      method: "get",
      path,
      id: path === "/health" ? "health" : "healthAlias",
      access: "monitoring",
      tag: "operations",
      summary: "Every health check; 503 when a critical one is unhealthy.",
      answers: { 200: { schema: healthReport }, 503: { schema: healthReport } },
      problems: [],
    }),
  ),
  {
    method: "get",
    path: "/api/v1/kv-sync/health",
    id: "syncHealth",
    access: "monitoring",
    tag: "operations",
    summary:
      "How well each model's engines are followed; 503 when one is silent and could not be verified as idle.",
    answers: { 200: { schema: syncHealthReport }, 503: { schema: syncHealthReport } },
    problems: [],
  },
  {
    method: "get",
    path: "/api/v1/snapshot",
    id: "snapshot",
    access: "admin",
    tag: "operations",
    summary: "A snapshot made now, for a daemon that starts.",
    answers: { 200: { mediaType: "application/vnd.kvsync.snapshot", description: "A snapshot file." } },
    problems: ["snapshot_unavailable"],
  },
  {
    method: "get",
    path: "/api/v1/log-level",
    id: "logLevel",
    access: "read",
    tag: "operations",
    summary: "How much is logged, from 0 (warnings and errors) to 5.",
    answers: { 200: { schema: logLevelState } },
    problems: [],
  },
  {
    method: "put",
    path: "/api/v1/log-level",
    id: "setLogLevel",
    access: "admin",
    tag: "operations",
    summary: "Changes how much is logged, in all threads, for good or for a while.",
    bodies: [{ schema: logLevelBody.meta({ id: "LogLevelChange" }) }],
    answers: { 200: { schema: logLevelState } },
    problems: ["malformed_body"],
  },
  {
    method: "get",
    path: "/metrics",
    id: "metrics",
    access: "monitoring",
    tag: "operations",
    summary: "Metrics for Prometheus.",
    answers: { 200: scrape },
    problems: [],
  },
  {
    method: "get",
    path: "/api/v1/metrics",
    id: "metricsAlias",
    access: "monitoring",
    tag: "operations",
    summary: "The same.",
    answers: { 200: scrape },
    problems: [],
  },
  {
    method: "get",
    path: "/openapi.json",
    id: "openapi",
    access: "open",
    tag: "operations",
    summary: "This document.",
    answers: { 200: { schema: loose } },
    problems: [],
  },
];

/**
 * The methods that a path takes.
 *
 * @param url - as requested, query included.
 * @returns upper case, HEAD with GET; empty for a path that no route has.
 */
export function methodsServedAt(url: string): readonly string[] {
  const [path = ""] = url.split("?", 1);
  return OPERATIONS.filter((operation) =>
    new RegExp(`^${operation.path.replaceAll(".", "\\.").replace(/\{\w+\}/g, "[^/]+")}$`).test(path),
  ).flatMap(({ method }) => (method === "get" ? ["GET", "HEAD"] : [method.toUpperCase()]));
}

/**
 * What a route declares of its callers.
 *
 * @param method - upper case; HEAD is what GET is.
 * @param url - template as the server writes it, `/api/v1/engines/:id`.
 * @returns undefined for a route that is not described.
 */
export function accessRuleOf(method: string, url: string): AccessRule | undefined {
  return RULES.get(`${method === "HEAD" ? "GET" : method} ${url}`);
}

const RULES: ReadonlyMap<string, AccessRule> = new Map(
  OPERATIONS.map((operation) => [
    `${operation.method.toUpperCase()} ${operation.path.replace(/\{(\w+)\}/g, ":$1")}`,
    operation,
  ]),
);
