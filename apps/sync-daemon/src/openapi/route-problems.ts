/**
 * Which problems a route can answer with: its own, and those that come from tokens, bodies and the server itself.
 *
 * Not here: the definition of a problem (problem-status.ts), the list of a route's own problems
 * (operations.ts).
 */

import type { ProblemCode } from "@kvsync/observability/kvsync/problem-codes";

import type { Operation } from "./operation.ts";

/** Problems that every route can answer with. */
const ANYWHERE: readonly ProblemCode[] = [
  "bad_request",
  "foreign_host",
  "request_overdue",
  "headers_too_large",
  "internal_error",
  "caller_gone",
];
/** Problems of routes that ask who their caller is. */
const WITH_TOKEN: readonly ProblemCode[] = [
  "malformed_authorization",
  "missing_token",
  "unknown_token",
  "insufficient_scope",
  "rate_limited",
];
/** Problems that every route with a body can answer with. */
const WITH_BODY: readonly ProblemCode[] = ["body_too_large", "unsupported_media_type", "bodies_full"];

/**
 * The problems of a route.
 *
 * @param operation - the route.
 * @returns codes, its own first.
 */
export function problemsOf({
  problems,
  access,
  accessWith,
  bodies,
}: Pick<Operation, "problems" | "access" | "accessWith" | "bodies">): readonly ProblemCode[] {
  const needsToken = access !== "open" || accessWith !== undefined;
  return [
    ...problems,
    ...(needsToken ? WITH_TOKEN : []),
    ...(bodies === undefined ? [] : WITH_BODY),
    ...ANYWHERE,
  ];
}

/**
 * The routes that can answer with a problem, for people.
 *
 * @param code - the problem's.
 * @param operations - every route.
 * @returns a phrase for all of them, or the routes with commas between; a dash for none.
 */
export function routesWith(code: ProblemCode, operations: readonly Operation[]): string {
  if (ANYWHERE.includes(code)) return "any";
  if (WITH_TOKEN.includes(code)) return "any but probes, where tokens are asked for";
  const routes = operations
    .filter((operation) => problemsOf(operation).includes(code))
    .map(({ method, path }) => `\`${method.toUpperCase()} ${path}\``);
  return routes.join(", ") || "–";
}
