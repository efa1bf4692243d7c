/**
 * Codes of every error that the HTTP API answers with, in the order of their statuses. The daemon's table of statuses
 * compiles with exactly these, and so does the label of the metric that counts them.
 */

/** All of them. */
export const PROBLEM_CODES = [
  "malformed_body",
  "bad_request",
  "malformed_authorization",
  "missing_token",
  "unknown_token",
  "insufficient_scope",
  "unknown_model",
  "unknown_engine",
  "unknown_instance",
  "unknown_pick",
  "unknown_route",
  "method_not_allowed",
  "request_overdue",
  "engine_conflict",
  "other_shard",
  "alertmanager_not_configured",
  "stated_elsewhere",
  "body_too_large",
  "too_many_tokens",
  "unsupported_media_type",
  "ambiguous_model",
  "wrong_block_size",
  "block_size_required",
  "prefix_hashes_secret",
  "contradictory_fields",
  "endpoint_not_allowed",
  "endpoint_unresolvable",
  "foreign_host",
  "rate_limited",
  "headers_too_large",
  "caller_gone",
  "internal_error",
  "upstream_unreachable",
  "upstream_refused",
  "registry_full",
  "registrations_unavailable",
  "no_endpoint",
  "subset_empty",
  "picks_full",
  "pick_failed",
  "picker_off",
  "dashboard_off",
  "too_many_viewers",
  "dashboard_not_built",
  "picker_busy",
  "picker_unanswered",
  "snapshot_unavailable",
  "bodies_full",
] as const;

/** One of them. */
export type ProblemCode = (typeof PROBLEM_CODES)[number];
