/** Why a caller is refused. Codes are stable; openapi/problem-status.ts gives each its status. No fact names a token's text. */

import { CodedError } from "@kvsync/core";

/** What a token lets its bearer do; admin includes read. */
export type TokenScope = "read" | "admin";

/** Facts of a refused caller. */
export type AccessFacts =
  | { readonly code: "missing_token"; readonly scope: TokenScope }
  | { readonly code: "malformed_authorization"; readonly expected: string }
  | { readonly code: "unknown_token" }
  | { readonly code: "insufficient_scope"; readonly scope: TokenScope; readonly token_name: string }
  | { readonly code: "foreign_host"; readonly expected: string }
  | { readonly code: "rate_limited"; readonly per_second: number; readonly retry_after_seconds: number };

/** A caller that is refused. */
export class AccessError extends CodedError<AccessFacts> {}
