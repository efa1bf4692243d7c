/**
 * The one table from error code to HTTP status, and the shape of a problem document (RFC 9457).
 */

import type { RequestFacts } from "../request/request-error.ts";
import type { RegistryFacts } from "../engine/engine-registry.ts";
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

/** Every code a problem document can carry. */
export type ProblemCode =
  | RequestFacts["code"]
  | RegistryFacts["code"]
  | AccessFacts["code"]
  | AdmissionFacts["code"]
  | RimCode;

/** Status and title of each code. */
export const PROBLEMS: Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>> = {
  malformed_body: { status: 400, title: "The request is not what was expected" },
  bad_request: { status: 400, title: "The request could not be read" },
  malformed_authorization: { status: 400, title: "The Authorization header could not be read" },
  missing_token: { status: 401, title: "A token is needed" },
  unknown_token: { status: 401, title: "Nobody has this token" },
  insufficient_scope: { status: 403, title: "The token may not do this" },
  unknown_model: { status: 404, title: "No engine serves this model" },
  unknown_engine: { status: 404, title: "No such engine" },
  unknown_instance: { status: 404, title: "No such instance is registered here" },
  unknown_route: { status: 404, title: "No such route" },
  method_not_allowed: { status: 405, title: "The route does not take this method" },
  request_overdue: { status: 408, title: "The request took too long to arrive" },
  engine_conflict: { status: 409, title: "The engine conflicts with one that is registered" },
  stated_elsewhere: { status: 409, title: "The engine comes from a source that this request cannot change" },
  body_too_large: { status: 413, title: "The body is too large" },
  too_many_tokens: { status: 413, title: "Too many tokens in one lookup" },
  unsupported_media_type: { status: 415, title: "Unsupported content type" },
  ambiguous_model: { status: 422, title: "Several models have this name" },
  wrong_block_size: { status: 422, title: "No engine uses this block size" },
  block_size_required: { status: 422, title: "Too many block sizes are in use" },
  prefix_hashes_secret: { status: 422, title: "Prefix hashes are secret here" },
  contradictory_fields: { status: 422, title: "Fields contradict each other" },
  endpoint_not_allowed: { status: 422, title: "Engines may not be there" },
  endpoint_unresolvable: { status: 422, title: "The engine's name has no address" },
  rate_limited: { status: 429, title: "Too many requests" },
  headers_too_large: { status: 431, title: "The address and headers are too long" },
  caller_gone: { status: 499, title: "The caller hung up before the request was there" },
  internal_error: { status: 500, title: "Something went wrong inside" },
  registry_full: { status: 503, title: "No room for another engine" },
  snapshot_unavailable: { status: 503, title: "No snapshot could be made" },
};

/** A problem document; facts of the error stand beside the members of RFC 9457. */
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
