/**
 * The one table from error code to HTTP status, and the shape of a problem document (RFC 9457).
 */

import type { ProblemCode } from "@kvsync/observability/kvsync/problem-codes";

import type { SilenceFacts } from "../dashboard/alert-sources.ts";
import type { ViewerFacts } from "../dashboard/live-stream.ts";
import type { PageFacts } from "../dashboard/static-files.ts";
import type { UnavailableFacts } from "../discovery/http-registrations.ts";
import type { PickerFacts } from "../picker/picker-questions.ts";
import type { RequestFacts } from "../request/request-error.ts";
import type { RegistryFacts } from "../engine/engine-registry.ts";
import type { BudgetFacts } from "../security/body-budget.ts";
import type { AccessFacts } from "../security/access-error.ts";
import type { AdmissionFacts } from "../security/endpoint-admission.ts";

/** Codes of errors that arise in the HTTP rim itself. */
type RimCode =
  | "unknown_route"
  | "method_not_allowed"
  | "body_too_large"
  | "unsupported_media_type"
  | "bad_request"
  | "request_overdue"
  | "headers_too_large"
  | "caller_gone"
  | "snapshot_unavailable"
  | "internal_error";

/** Every code that code throws or answers. */
type EmittedCode =
  | RequestFacts["code"]
  | RegistryFacts["code"]
  | AccessFacts["code"]
  | AdmissionFacts["code"]
  | UnavailableFacts["code"]
  | PickerFacts["code"]
  | PageFacts["code"]
  | ViewerFacts["code"]
  | SilenceFacts["code"]
  | BudgetFacts["code"]
  | RimCode;

/** How a code is answered. */
interface Answered {
  readonly status: number;
  readonly title: string;
}

/** Status and title of each code. A code that the catalogue lacks, or that nothing emits, does not compile. */
export const PROBLEMS: Readonly<Record<ProblemCode, Answered>> = {
  malformed_body: { status: 400, title: "Invalid request" },
  bad_request: { status: 400, title: "Malformed request" },
  malformed_authorization: { status: 400, title: "Malformed Authorization header" },
  missing_token: { status: 401, title: "Missing token" },
  unknown_token: { status: 401, title: "Invalid token" },
  insufficient_scope: { status: 403, title: "Insufficient scope" },
  unknown_model: { status: 404, title: "Unknown model" },
  unknown_engine: { status: 404, title: "Unknown engine" },
  unknown_instance: { status: 404, title: "Unknown instance" },
  unknown_pick: { status: 404, title: "Unknown pick" },
  unknown_route: { status: 404, title: "Unknown route" },
  method_not_allowed: { status: 405, title: "Method not allowed" },
  request_overdue: { status: 408, title: "Request timeout" },
  engine_conflict: { status: 409, title: "Engine conflict" },
  alertmanager_not_configured: { status: 409, title: "Alertmanager is not configured" },
  stated_elsewhere: { status: 409, title: "Engine of another source" },
  body_too_large: { status: 413, title: "Body too large" },
  too_many_tokens: { status: 413, title: "Too many tokens" },
  unsupported_media_type: { status: 415, title: "Unsupported content type" },
  ambiguous_model: { status: 422, title: "Ambiguous model name" },
  wrong_block_size: { status: 422, title: "Unused block size" },
  block_size_required: { status: 422, title: "Block size required" },
  prefix_hashes_secret: { status: 422, title: "Prefix hashes are secret" },
  contradictory_fields: { status: 422, title: "Contradictory fields" },
  endpoint_not_allowed: { status: 422, title: "Endpoint not allowed" },
  endpoint_unresolvable: { status: 422, title: "Unresolvable endpoint" },
  other_shard: { status: 421, title: "Engine of another shard" },
  foreign_host: { status: 421, title: "Host name not served" },
  rate_limited: { status: 429, title: "Too many requests" },
  headers_too_large: { status: 431, title: "Headers too large" },
  caller_gone: { status: 499, title: "Connection closed by the caller" },
  internal_error: { status: 500, title: "Internal error" },
  upstream_unreachable: { status: 502, title: "Alertmanager does not answer" },
  upstream_refused: { status: 502, title: "Refused by Alertmanager" },
  registry_full: { status: 503, title: "Engine limit reached" },
  registrations_unavailable: { status: 503, title: "Registrations unavailable" },
  no_endpoint: { status: 503, title: "No endpoint" },
  subset_empty: { status: 503, title: "No allowed endpoint" },
  picks_full: { status: 503, title: "Too many open picks" },
  pick_failed: { status: 503, title: "Failed decision" },
  picker_off: { status: 503, title: "Picker is off" },
  dashboard_off: { status: 503, title: "Web page is off" },
  too_many_viewers: { status: 503, title: "Too many viewers" },
  dashboard_not_built: { status: 503, title: "Web page is not built" },
  picker_busy: { status: 503, title: "Picker is busy" },
  picker_unanswered: { status: 503, title: "Picker does not answer" },
  snapshot_unavailable: { status: 503, title: "Snapshot unavailable" },
  bodies_full: { status: 503, title: "Too many request bodies" },
} satisfies Readonly<Record<EmittedCode, Answered>>;

/** A problem document; facts of the error are further members next to those of RFC 9457. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ProblemCode;
  readonly detail: string;
  readonly [fact: string]: unknown;
}

/**
 * Makes a problem document.
 *
 * @param code - its code.
 * @param detail - one sentence about this occurrence.
 * @param facts - further members; they never replace the standard ones.
 * @returns the document.
 */
export function problem(
  code: ProblemCode,
  detail: string,
  facts: Readonly<Record<string, unknown>> = {},
): ProblemDocument {
  const { status, title } = PROBLEMS[code];
  return { ...facts, type: `urn:kvsync:problem:${code}`, title, status, code, detail };
}
