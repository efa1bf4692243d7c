/**
 * Every route of the HTTP API, with the schemas that its requests are checked by and its answers are made of. The OpenAPI document is made from
 * this and nothing else; a test compares it with the routes of a running application, both ways.
 */

import { z } from "zod";

import { engineEntry } from "../engine/engine-entry.ts";
import { ALERT_OPERATIONS } from "./alert-operations.ts";
import { historyAnswer, historyQuery, rankHours, rankHoursQuery, whoamiAnswer } from "./dashboard-answers.ts";
import { engineDetails, engineEventsQuery, engineList, registeredEngine } from "./engine-answers.ts";
import { healthReport, liveness, logLevelState, readiness, syncHealthReport } from "./health-answers.ts";
import { logLevelBody } from "../log/level-control.ts";
import type { AccessRule } from "../security/access-guard.ts";
import {
  dumpList,
  dynamoRegistration,
  globalView,
  mooncakeRegistration,
  queryAnswer,
  queryBody,
  queryByHashBody,
  registerBody,
  serviceList,
  unregisterBody,
  unregistration,
  workerList,
} from "../community/community-api.ts";
import type { Content, Operation } from "./operation.ts";
import { outcomesAnswer, pickAnswer, pickerReport, pickExplanation } from "./picker-answers.ts";
import { endBody, outcomesBody, pickBody } from "../picker/pick-request.ts";
import { indexReport, logLines, logsQuery, snapshotQuery, systemReport } from "./system-answers.ts";
import { matchAnswer } from "../query/match-answer.ts";
import { binaryParameters, jsonBody } from "../query/match-query.ts";

const matchRequest = jsonBody.meta({
  id: "MatchRequest",
  description: "A lookup with exactly one of token_ids, prefix_hashes, prompt, messages.",
  examples: [{ model: "demo/model", token_ids: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16] }],
});
const engineEntryBody = engineEntry.meta({
  id: "EngineEntry",
  description: "An engine, as in the configuration file: either endpoint (with dp_size) or endpoints.",
});

const octets = (description: string): Content => ({ mediaType: "application/octet-stream", description });
const scrape: readonly Content[] = [
  { mediaType: "text/plain", description: "Prometheus text format." },
  {
    mediaType: "application/openmetrics-text",
    description: "OpenMetrics with exemplars, when the header Accept names it.",
  },
];
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

const REGISTRATION_PROBLEMS = [
  "malformed_body",
  "engine_conflict",
  "other_shard",
  "endpoint_not_allowed",
  "endpoint_unresolvable",
  "registry_full",
  "registrations_unavailable",
] as const;

const PICKER_PROBLEMS = ["picker_off", "picker_busy", "picker_unanswered"] as const;
const PICK_PROBLEMS = [
  "malformed_body",
  "contradictory_fields",
  "no_endpoint",
  "subset_empty",
  "picks_full",
  "pick_failed",
  ...PICKER_PROBLEMS,
] as const;
const PAGE_PROBLEMS = ["dashboard_off", "dashboard_not_built"] as const;
const pageFile: Content = {
  mediaType: "application/octet-stream",
  description: "A file of the page, with its own type and an ETag; gzip where that is accepted.",
};
const pickRequest = pickBody.meta({
  id: "PickRequest",
  description: "A request to pick for, with exactly one of token_ids, prompt, messages.",
});

/** All of them. */
export const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/api/v1/match",
    id: "match",
    access: "read",
    tag: "lookups",
    summary:
      "The leading blocks of a prompt that each worker holds. The query parameters are for binary bodies.",
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
    path: "/api/v1/picker",
    id: "pickerStatus",
    access: "read",
    tag: "lookups",
    summary: "The endpoint picker: endpoints with their loads, and counts of decisions.",
    answers: { 200: { schema: pickerReport } },
    problems: PICKER_PROBLEMS,
  },
  {
    method: "post",
    path: "/api/v1/picker/explain",
    id: "explainPick",
    access: "read",
    tag: "lookups",
    summary: "Ranks all endpoints for a request with every term of the cost. Nothing is booked.",
    bodies: [{ schema: pickRequest }],
    answers: { 200: { schema: pickExplanation } },
    problems: PICK_PROBLEMS,
  },
  {
    method: "post",
    path: "/api/v1/pick",
    id: "pick",
    access: "read",
    tag: "lookups",
    summary:
      "Picks endpoints for a request, and books it at the first until it is ended, for 10 minutes at most.",
    bodies: [{ schema: pickRequest }],
    answers: { 200: { schema: pickAnswer } },
    problems: PICK_PROBLEMS,
  },
  {
    method: "post",
    path: "/api/v1/pick/{id}/end",
    id: "endPick",
    access: "read",
    tag: "lookups",
    summary: "Ends a pick: the request is over.",
    bodies: [{ schema: endBody.meta({ id: "PickEnd" }) }],
    answers: { 204: null },
    problems: ["unknown_pick", "malformed_body", ...PICKER_PROBLEMS],
  },
  {
    method: "post",
    path: "/api/v1/outcomes",
    id: "reportOutcomes",
    access: "read",
    tag: "lookups",
    summary: "Compares predictions of picks with the engines' own counts of cached tokens.",
    bodies: [{ schema: outcomesBody.meta({ id: "OutcomesReport" }) }],
    answers: { 200: { schema: outcomesAnswer } },
    problems: ["malformed_body", ...PICKER_PROBLEMS],
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
        "A line of JSON, then records of 24 bytes as that line describes. A record's slot is the `holder_slot` of a KV-cache group in the list of engines. The header x-kvsync-applied-before has the number of messages applied before.",
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
    summary: "Engines and the state of their streams; sources of engines, and the entries that are refused.",
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
      200: { schema: registeredEngine },
      201: { schema: registeredEngine },
    },
    problems: REGISTRATION_PROBLEMS,
  },
  {
    method: "get",
    path: "/api/v1/engines/{id}",
    id: "engineDetails",
    access: "read",
    tag: "engines",
    summary: "One engine: its streams, what happened to them lately, and its blocks by tier.",
    answers: { 200: { schema: engineDetails } },
    problems: ["unknown_engine"],
  },
  {
    method: "get",
    path: "/api/v1/engines/{id}/events",
    id: "engineEvents",
    access: "read",
    tag: "engines",
    summary: "Decoded events of a rank as they come: server-sent events, until the reader goes.",
    query: engineEventsQuery,
    answers: {
      200: {
        mediaType: "text/event-stream",
        description:
          "The events hello, events, gone and bye, each with JSON. At most 200 events a second; left_out counts the others. With admin scope an event has the first eight digits of its first block's hash. No event has tokens or texts.",
      },
    },
    problems: ["unknown_engine", "malformed_body", "too_many_viewers"],
  },
  {
    method: "delete",
    path: "/api/v1/engines/{id}",
    id: "removeEngine",
    access: "admin",
    tag: "engines",
    summary: "Removes an engine that was registered over HTTP: at once from lookups, soon from the index.",
    answers: { 204: null },
    problems: ["unknown_engine", "stated_elsewhere", "registrations_unavailable"],
  },
  {
    method: "post",
    path: "/register",
    id: "communityRegister",
    access: "admin",
    tag: "community",
    summary: "Registers one DP rank, in Mooncake's or Dynamo's form.",
    bodies: [{ schema: registerBody }],
    answers: { 200: { schema: mooncakeRegistration }, 201: { schema: dynamoRegistration } },
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
    answers: { 200: { schema: unregistration } },
    problems: ["malformed_body", "unknown_instance", "registrations_unavailable"],
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
    answers: { 200: { schema: liveness } },
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
    summary: "State of each model's engines; 503 when an engine is silent and could not be verified as idle.",
    answers: { 200: { schema: syncHealthReport }, 503: { schema: syncHealthReport } },
    problems: [],
  },
  {
    method: "get",
    path: "/api/v1/snapshot",
    id: "snapshot",
    access: "admin",
    tag: "operations",
    summary:
      "A snapshot made now, for a daemon that starts; 204 when it has no worker of the shard that is asked for.",
    query: snapshotQuery,
    answers: {
      200: { mediaType: "application/vnd.kvsync.snapshot", description: "A snapshot file." },
      204: null,
    },
    problems: ["malformed_body", "snapshot_unavailable"],
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
    summary: "Changes how much is logged, in all threads, permanently or for a time.",
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
    path: "/dashboard",
    id: "dashboard",
    access: "open",
    tag: "dashboard",
    summary: "Leads to the daemon's web page at dashboard/.",
    answers: { 308: null },
    problems: [],
  },
  {
    method: "get",
    path: "/dashboard/",
    id: "dashboardPage",
    access: "open",
    tag: "dashboard",
    summary: "The web page. It has no data of its own and asks for it with the token of its reader.",
    answers: { 200: { mediaType: "text/html", description: "The page, with an ETag." }, 304: null },
    problems: PAGE_PROBLEMS,
  },
  ...(["/dashboard/{file}", "/dashboard/assets/{file}"] as const).map(
    (path): Operation => ({
      method: "get",
      path,
      id: path === "/dashboard/{file}" ? "dashboardFile" : "dashboardAsset",
      access: "open",
      tag: "dashboard",
      summary: "A file of the web page; browsers keep those of assets.",
      answers: { 200: pageFile, 304: null },
      problems: [...PAGE_PROBLEMS, "unknown_route"],
    }),
  ),
  {
    method: "get",
    path: "/api/v1/dashboard/stream",
    id: "dashboardStream",
    access: "read",
    tag: "dashboard",
    summary: "The fleet as it changes: server-sent events, a delta each second, until the reader goes.",
    answers: {
      200: {
        mediaType: "text/event-stream",
        description:
          "The events hello, snapshot, delta, happening and bye, each with JSON. A reader who is too slow gets a new snapshot in place of deltas.",
      },
    },
    problems: ["dashboard_off", "too_many_viewers"],
  },
  {
    method: "get",
    path: "/api/v1/dashboard/history",
    id: "dashboardHistory",
    access: "read",
    tag: "dashboard",
    summary: "The last hour of the fleet, a value for each five seconds.",
    query: historyQuery.partial(),
    answers: { 200: { schema: historyAnswer } },
    problems: ["malformed_body", "dashboard_off"],
  },
  {
    method: "get",
    path: "/api/v1/dashboard/ranks",
    id: "dashboardRanks",
    access: "read",
    tag: "dashboard",
    summary: "States and rates of some ranks over the last hour.",
    query: rankHoursQuery,
    answers: { 200: { schema: rankHours } },
    problems: ["malformed_body", "dashboard_off"],
  },
  ...ALERT_OPERATIONS,
  {
    method: "get",
    path: "/api/v1/whoami",
    id: "whoami",
    access: "read",
    tag: "operations",
    summary: "Whose token the request has, and its scope.",
    answers: { 200: { schema: whoamiAnswer } },
    problems: [],
  },
  {
    method: "get",
    path: "/api/v1/system",
    id: "system",
    access: "read",
    tag: "operations",
    summary: "The process, its machine, its settings with their sources, and the sources of engines.",
    answers: { 200: { schema: systemReport } },
    problems: [],
  },
  {
    method: "get",
    path: "/api/v1/index",
    id: "index",
    access: "read",
    tag: "operations",
    summary: "Contexts of the index, the ranks that share their blocks, and the memory that they take.",
    answers: { 200: { schema: indexReport } },
    problems: [],
  },
  {
    method: "get",
    path: "/api/v1/logs",
    id: "logs",
    access: "read",
    tag: "operations",
    summary: "The latest lines of the log.",
    query: logsQuery.partial(),
    answers: { 200: { schema: logLines } },
    problems: ["malformed_body"],
  },
  {
    method: "get",
    path: "/api/v1/logs/stream",
    id: "logStream",
    access: "read",
    tag: "operations",
    summary: "Lines of the log as they are written: server-sent events, until the reader goes.",
    query: logsQuery.partial(),
    answers: {
      200: {
        mediaType: "text/event-stream",
        description:
          "The events hello, lines and bye, each with JSON. Lines are those of `GET /api/v1/logs`: first the kept ones, then at most 200 a second. The field left_out counts the others.",
      },
    },
    problems: ["malformed_body", "too_many_viewers"],
  },
  {
    method: "get",
    path: "/openapi.json",
    id: "openapi",
    access: "open",
    tag: "operations",
    summary: "This document.",
    answers: { 200: { schema: z.looseObject({}) } },
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
