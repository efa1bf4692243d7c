/**
 * Families about finding engines: the engines of each source, its state, and the refused engines by
 * reason.
 */

import { counter, gauge } from "../namespace.ts";

/** Where engines come from. The daemon's sources are the same closed set, which a test there compares. */
const SOURCES = ["file", "http", "kubernetes"] as const;

/** How a source does: not asked yet, up to date, or known to be behind. */
export const DISCOVERY_STATES = ["starting", "current", "stale"] as const;

/** What can go wrong with a source: first the API server's watch and what engines say of themselves, then the configuration file, then the file of registrations. */
export const DISCOVERY_FAILURES = [
  "unreachable",
  "timeout",
  "disconnected",
  "unauthorized",
  "forbidden",
  "gone",
  "throttled",
  "server_error",
  "refused",
  "malformed",
  "too_large",
  "credentials",
  "models_unanswered",
  "unusable_settings",
  "registrations_refused",
  "write_failed",
] as const;

/** Why a pod is no engine at the moment, without a fault. */
export const POD_WAITING_REASONS = [
  "disabled",
  "not_running",
  "no_address",
  "terminating",
  "not_ready",
  "not_publishing",
  "group_incomplete",
  "model_unknown",
] as const;

/** Families about discovery. */
export const DISCOVERY_METRICS = {
  state: gauge({
    name: "kv_discovery_state",
    help: "1 for the present state of a source of engines, 0 for its other states.",
    unit: "none",
    labels: { source: SOURCES, state: DISCOVERY_STATES },
    preset: "absent until known",
    why: "A stale source keeps its last list. Engines that came or went since are missing from it.",
  }),
  age: gauge({
    name: "kv_discovery_age_seconds",
    help: "Seconds since a source of engines was last known to be up to date; absent before the first time.",
    unit: "seconds",
    labels: { source: SOURCES },
    preset: "absent until known",
    why: "How old the list of engines may be.",
  }),
  failures: counter({
    name: "kv_discovery_failures_total",
    help: "Failures of finding engines, by source and reason.",
    unit: "none",
    labels: { source: SOURCES, reason: DISCOVERY_FAILURES },
    preset: "zero is a fact",
    why: "The reason separates an unreachable API server, expired credentials and an unreadable file.",
  }),
  engines: gauge({
    name: "kv_discovery_engines",
    help: "Engines that a source wants followed, those refused included.",
    unit: "none",
    labels: { source: SOURCES },
    preset: "absent until known",
    why: "A source that suddenly wants none has lost its labels or its file.",
  }),
  shardEngines: gauge({
    name: "kv_discovery_shard_engines",
    help: "Engines that sources want, by the shard that follows them: this daemon's, or another one.",
    unit: "none",
    labels: { shard: ["own", "elsewhere"] },
    preset: "absent until known",
    why: "With shard.count above 1, own over all shards adds up to the fleet; elsewhere is followed by other daemons.",
  }),
  refused: gauge({
    name: "kv_discovery_refused_engines",
    help: "Engines that a source wants and that are not followed for it at the moment, by reason.",
    unit: "none",
    labels: { source: SOURCES, reason: ["duplicate", "conflict", "no_room", "malformed"] },
    preset: "absent until known",
    why: "Each but a duplicate is an engine that lookups know nothing of.",
  }),
  refusals: counter({
    name: "kv_discovery_refusals_total",
    help: "Engines that were refused, counted when that began.",
    unit: "none",
    labels: { source: SOURCES, reason: ["duplicate", "conflict", "no_room", "malformed"] },
    preset: "zero is a fact",
    why: "Sources that keep contradicting each other.",
  }),
  pods: gauge({
    name: "kv_discovery_pods",
    help: "Pods that the selector enables: known, and of those eligible (running, with an address and a model, not on their way out).",
    unit: "none",
    labels: { status: ["known", "eligible"] },
    preset: "absent until known",
    why: "Known but not eligible for long: pods that do not start.",
  }),
  waiting: gauge({
    name: "kv_discovery_waiting_pods",
    help: "Pods that are known and no engines at the moment, by reason.",
    unit: "none",
    labels: { reason: POD_WAITING_REASONS },
    preset: "absent until known",
    why: "A pod that waits for long does not start, is not ready, or has no model's name.",
  }),
  requests: counter({
    name: "kv_discovery_requests_total",
    help: "Requests to the Kubernetes API server that were answered well: lists, and watches that were opened.",
    unit: "none",
    labels: { request: ["list", "watch"] },
    preset: "zero is a fact",
    why: "Many lists are a load on the API server, and a sign of watches that do not hold.",
  }),
};
