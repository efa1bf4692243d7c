/** The declaration of one route. The list of all routes is in operations.ts. */

import type { z } from "zod";
import type { ProblemCode } from "@kvsync/observability/kvsync/problem-codes";

import type { AccessRule } from "../security/access-guard.ts";

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
  readonly tag: "lookups" | "engines" | "operations" | "dashboard" | "community";
  readonly summary: string;
  /** Query parameters, an object schema. */
  readonly query?: z.ZodObject;
  readonly bodies?: readonly Content[];
  /** By status; several are one answer in several media types. */
  readonly answers: Readonly<Record<number, Content | readonly Content[] | null>>;
  /** Codes of problems beside those that every route can have. */
  readonly problems: readonly ProblemCode[];
}
