/**
 * Families about the endpoint picker. None of them has a series while the picker is off: its threads
 * make them all, at 0, when they start.
 */

import { doubling, withExemplars } from "../../definition.ts";
import { counter, gauge, histogram } from "../namespace.ts";
import { MODEL } from "./label-domains.ts";

/**
 * What decides a request; `degraded` is by the index without a shard, `immediate` an error of ours
 * instead of a pick.
 */
export const PICK_DECISIONS = ["index", "degraded", "own", "load", "immediate"] as const;

/** Why a request has no prompt to look up. */
export const NO_PROMPT_REASONS = ["no_body", "path", "not_json", "not_understood"] as const;

/**
 * Why a pick is made without the index or a shard of it, or why there is none. The picker has the same closed set,
 * which a test there compares.
 */
export const PICK_REASONS = [
  "none",
  ...NO_PROMPT_REASONS,
  "body_large",
  "buffer_full",
  "not_sent",
  "encoding",
  "model_unknown",
  "no_tokens",
  "late",
  "tokens_unusable",
  "index_unknown",
  "shard_missing",
  "no_endpoint",
  "subset_empty",
  "saturated",
] as const;

/** How a gateway's stream ends. The picker has the same closed set. */
export const STREAM_ENDS = ["complete", "client", "left", "drained", "failed", "immediate"] as const;

/** Why a gateway's stream or connection ends with an error. The picker has the same closed set. */
export const STREAM_FAULTS = [
  "headers_twice",
  "body_before_headers",
  "message_without_part",
  "truncated",
  "bad_varint",
  "bad_field_number",
  "bad_wire_type",
  "wrong_wire_type",
  "unmatched_group",
  "too_deep",
  "compressed",
  "message_too_large",
  "cut_short",
  "unknown_path",
  "streams_limit",
  "connections_limit",
  "no_first_stream",
  "host_failed",
] as const;

/** What comes of looking a prompt up again at the engine that served it. The picker has the same closed set. */
export const CHECK_OUTCOMES = ["agree", "differ", "unknown", "skipped"] as const;

/** What comes of a look at an endpoint's metrics. The picker has the same closed set. */
export const SCRAPE_OUTCOMES = [
  "ok",
  "unreachable",
  "timeout",
  "status",
  "too_large",
  "cut",
  "no_names",
] as const;

/** Why a message between pickers is not used. The picker has the same closed set. */
export const SHARE_DROPS = [
  "malformed",
  "too_many_pickers",
  "too_many_requests",
  "endpoint_unknown",
  "unsent",
] as const;

/** What comes of asking another shard for a pick. The picker has the same closed set. */
export const SHARD_OUTCOMES = [
  "ok",
  "timeout",
  "unreachable",
  "status",
  "malformed",
  "too_large",
  "wrong_shard",
  "circuit_open",
  "busy",
  "no_time",
] as const;

/** What comes of a prediction. */
export const PREDICTION_OUTCOMES = ["agree", "differ"] as const;

/** States of endpoints. The picker has the same closed set. */
export const ENDPOINT_STATES = ["eligible", "not_ready", "penalty", "stale"] as const;

/** What is known of an endpoint's load. */
export const LOAD_KINDS = [
  "running",
  "waiting",
  "pending_tokens",
  "context_tokens",
  "foreign_running",
] as const;

/** Addresses that requests are sent to, of those whose load is shown. */
const ENDPOINT = { maxValues: 1024 } as const;

/** Numbers of shards; a fleet has no more. */
const SHARD_INDEX = { maxValues: 1024 } as const;

/** Families about the picker. */
export const PICKER_METRICS = {
  ready: gauge({
    name: "kv_picker_ready",
    help: "1 while the picker answers health checks with SERVING, 0 while it does not.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "A gateway sends no request to a picker that is not ready.",
  }),
  requests: counter({
    name: "kv_picker_requests_total",
    help: "Requests decided, by what decided them, and by why it was not the index: none when it was.",
    unit: "none",
    labels: { decision: PICK_DECISIONS, reason: PICK_REASONS },
    preset: "absent until known",
    why: "The share of requests that are sent where their prompts are cached, and the cause of the others.",
  }),
  decisionDuration: withExemplars(
    histogram({
      name: "kv_picker_decision_duration_seconds",
      help: "From the last byte of a request's body to its decision, tokenization included.",
      unit: "seconds",
      labels: {},
      preset: "absent until known",
      buckets: doubling(0.0001, 17),
      why: "Every request waits this long before the gateway sends it on.",
    }),
  ),
  requestBody: histogram({
    name: "kv_picker_request_body_bytes",
    help: "Bytes of a request's body that were there when it was decided.",
    unit: "bytes",
    labels: {},
    preset: "absent until known",
    buckets: doubling(256, 17),
    why: "Against picker.limits.body_bytes: longer bodies are decided by load.",
  }),
  promptTokens: counter({
    name: "kv_picker_prompt_tokens_total",
    help: "Tokens of the prompts that were picked for; by their bytes where the tokens are not known.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "The prefill work that the fleet would have without caches.",
  }),
  predictions: counter({
    name: "kv_picker_predictions_total",
    help: "Picks by the index whose answer reported its cached tokens, by whether these are the predicted ones.",
    unit: "none",
    labels: { model: MODEL, outcome: PREDICTION_OUTCOMES },
    preset: "absent until known",
    why: "Picks by wrong predictions are no better than by load.",
  }),
  predictedTokens: counter({
    name: "kv_picker_predicted_cached_tokens_total",
    help: "Tokens that these picks expected to be cached.",
    unit: "none",
    labels: { model: MODEL },
    preset: "absent until known",
    why: "More than the delivered ones: the index promises tokens that engines do not have.",
  }),
  deliveredTokens: counter({
    name: "kv_picker_delivered_cached_tokens_total",
    help: "Those of the expected tokens that the engine had.",
    unit: "none",
    labels: { model: MODEL },
    preset: "absent until known",
    why: "The prefill work that was spared as predicted.",
  }),
  reportedTokens: counter({
    name: "kv_picker_reported_cached_tokens_total",
    help: "Tokens that the engine had for these picks, expected or not.",
    unit: "none",
    labels: { model: MODEL },
    preset: "absent until known",
    why: "More than the delivered ones: engines have what the index does not know.",
  }),
  promptChecks: counter({
    name: "kv_picker_prompt_checks_total",
    help: "Prompts looked up again at the engine that served them, by outcome: unknown when it is not exact, skipped when too many checks waited.",
    unit: "none",
    labels: { model: MODEL, outcome: CHECK_OUTCOMES },
    preset: "absent until known",
    why: "An engine that stores another prompt than the one looked up has other tokens, and no pick for it is right.",
  }),
  firstToken: histogram({
    name: "kv_picker_first_token_seconds",
    help: "From a request's question to the first byte of its response's body, where responses are followed.",
    unit: "seconds",
    labels: {},
    preset: "absent until known",
    buckets: doubling(0.01, 14),
    why: "The latency that routing by caches improves.",
  }),
  requestDuration: histogram({
    name: "kv_picker_request_seconds",
    help: "From a request's question to the end of its stream, where there was a pick.",
    unit: "seconds",
    labels: {},
    preset: "absent until known",
    buckets: doubling(0.02, 16),
    why: "How long requests hold a place at their engine.",
  }),
  servedElsewhere: counter({
    name: "kv_picker_served_elsewhere_total",
    help: "Requests that another endpoint than the picked one answered.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "The gateway does not follow picks, or picked engines do not answer.",
  }),
  streams: gauge({
    name: "kv_picker_streams",
    help: "Requests of gateways that are open.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "Against picker.limits.streams.",
  }),
  connections: gauge({
    name: "kv_picker_connections",
    help: "Connections of gateways.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "Without one, no gateway asks the picker.",
  }),
  bookings: gauge({
    name: "kv_picker_bookings",
    help: "Requests that count as load of an endpoint.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "More than the open requests: endpoints look busier than they are.",
  }),
  buffered: gauge({
    name: "kv_picker_buffered_bytes",
    help: "Bytes of bodies that wait for their decision.",
    unit: "bytes",
    labels: {},
    preset: "absent until known",
    why: "Against picker.limits.buffered_bytes: at the limit, requests are decided by load.",
  }),
  streamEnds: counter({
    name: "kv_picker_stream_ends_total",
    help: "Streams of gateways that are over, by their end: left by the picker after the pick, immediate with an error instead of a pick.",
    unit: "none",
    labels: { end: STREAM_ENDS },
    preset: "absent until known",
    why: "Whether responses are followed to their end.",
  }),
  responseChunks: counter({
    name: "kv_picker_response_chunks_total",
    help: "Chunks of responses that passed the picker.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "They cost CPU; a gateway that sends no response bodies spares it.",
  }),
  faults: counter({
    name: "kv_picker_wire_errors_total",
    help: "Streams and connections of gateways that ended with an error, by reason.",
    unit: "none",
    labels: { reason: STREAM_FAULTS },
    preset: "absent until known",
    why: "A gateway of another protocol, or a limit that is too small.",
  }),
  endpoints: gauge({
    name: "kv_picker_endpoints",
    help: "Endpoints by state: in penalty when it did not serve its last picks; stale when their source cannot be read.",
    unit: "none",
    labels: { state: ENDPOINT_STATES },
    preset: "absent until known",
    why: "How many engines requests can be sent to.",
  }),
  endpointLoad: gauge({
    name: "kv_picker_endpoint_load",
    help: "Load of each endpoint as picks see it, by kind: of requests, or of prompt tokens. A larger fleet has the first 1024 endpoints only.",
    unit: "none",
    labels: { endpoint: ENDPOINT, kind: LOAD_KINDS },
    preset: "absent until known",
    why: "Whether load is spread, and where it is not.",
  }),
  shardLookups: counter({
    name: "kv_picker_shard_lookups_total",
    help: "Picks that asked another shard, by shard and by what came of it: circuit_open when its replicas are left alone after failures.",
    unit: "none",
    labels: { shard_index: SHARD_INDEX, outcome: SHARD_OUTCOMES },
    preset: "absent until known",
    why: "A pick without a shard sends requests past the engines that hold their prompts.",
  }),
  shardDuration: histogram({
    name: "kv_picker_shard_duration_seconds",
    help: "From a pick's question to another shard to the answer, or until the shard was given up, by shard.",
    unit: "seconds",
    labels: { shard_index: SHARD_INDEX },
    preset: "absent until known",
    buckets: doubling(0.0005, 12),
    why: "Every pick waits for the slowest shard.",
  }),
  shareDrops: counter({
    name: "kv_picker_share_drops_total",
    help: "Messages between pickers that were not used, by reason: unsent when NATS was away, endpoint_unknown when this picker has another pool.",
    unit: "none",
    labels: { reason: SHARE_DROPS },
    preset: "absent until known",
    why: "Pickers that do not share their decisions send their requests to the same engine.",
  }),
  scrapes: counter({
    name: "kv_picker_scrapes_total",
    help: "Looks at an endpoint's metrics, by outcome: no_names when the page has no metrics of an engine.",
    unit: "none",
    labels: { outcome: SCRAPE_OUTCOMES },
    preset: "absent until known",
    why: "Without them the picker counts its own requests alone, and not those of others.",
  }),
  scrapeAge: gauge({
    name: "kv_picker_scrape_age_seconds",
    help: "Age of the last good look at an endpoint's metrics, of the endpoint where it is oldest.",
    unit: "seconds",
    labels: {},
    preset: "absent until known",
    why: "Figures older than two seconds are not used.",
  }),
  eventLoopLag: gauge({
    name: "kv_picker_event_loop_lag_seconds",
    help: "How late a thread of the picker was at its timer in the last second, at most.",
    unit: "seconds",
    labels: {},
    preset: "absent until known",
    why: "Every decision waits this much longer.",
  }),
};
