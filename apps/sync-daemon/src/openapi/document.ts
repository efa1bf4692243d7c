/**
 * The OpenAPI 3.1 document of the API, and the reference of error codes: projections of operations.ts, the schemas and the table of problems.
 *
 * Requests are described as they may be sent (before defaults), answers as they are. Schemas with an id become components.
 */

import { FRAME_ERROR_CODES, PAYLOAD_ERROR_CODES } from "@kvsync/core";
import { z } from "zod";

import { type ProblemCode, PROBLEMS } from "./problem-status.ts";
import { TOKENIZER_FAILURES } from "../tokenizer/tokenize-outcome.ts";
import { type Content, type Operation, OPERATIONS } from "./operations.ts";

const INT32_MAX = 0x7fff_ffff;

/** A part of the document. */
type Json = Readonly<Record<string, unknown>>;

/** Problems that every route can answer with. */
const ANYWHERE: readonly ProblemCode[] = [
  "bad_request",
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
const WITH_BODY: readonly ProblemCode[] = ["body_too_large", "unsupported_media_type"];

const TOKEN_SCHEME = {
  type: "http",
  scheme: "bearer",
  description:
    "A token of the daemon's file of tokens. The scope that a route needs stands with it; admin includes read. A daemon without such a file asks for none.",
};

const TAGS = [
  { name: "lookups", description: "Who holds how much of a prompt: for gateways." },
  { name: "engines", description: "Which engines are followed." },
  { name: "operations", description: "Health, metrics, dumps, snapshots, the log's level." },
  { name: "community", description: "The API of Mooncake's Conductor and Dynamo's standalone indexer." },
];
/** Headers that answers of a status have beside their body. */
const HEADERS: Readonly<Record<number, Json>> = {
  401: header("WWW-Authenticate", "How to authenticate (RFC 6750)."),
  403: header("WWW-Authenticate", "Which scope is missing (RFC 6750)."),
  429: header("Retry-After", "Seconds to wait."),
};
/** A caller that hung up reads no answer. */
const UNREAD: readonly ProblemCode[] = ["caller_gone"];
/** Without a schema generators leave the body, or the whole operation, out. */
const BYTES = { type: "string", format: "binary" };
/** Media types that are text; all others are bytes. */
const TEXT = /^text\//;

const problemDocument = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]),
    detail: z.string(),
  })
  .meta({
    id: "Problem",
    description: "RFC 9457 problem document; facts of the error stand beside the standard members.",
  });

/**
 * Makes the document.
 *
 * @returns a fresh one.
 */
export function openapiDocument(): Json {
  const components = new Map<string, Json>();
  const paths: Record<string, Record<string, Json>> = {};
  for (const operation of OPERATIONS) {
    (paths[operation.path] ??= {})[operation.method] = describe(operation, components);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "kvsync",
      version: "1",
      description:
        "Which inference engine already holds which prompt prefix, and how far that can be trusted.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    tags: TAGS,
    paths,
    components: {
      securitySchemes: { token: TOKEN_SCHEME },
      schemas: Object.fromEntries([...components].sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

/**
 * The reference of error codes.
 *
 * @returns Markdown.
 */
export function errorReference(): string {
  const row = (...cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
  const usedBy = (code: ProblemCode): string =>
    ANYWHERE.includes(code)
      ? "any"
      : WITH_TOKEN.includes(code)
        ? "any but probes, where tokens are asked for"
        : OPERATIONS.filter(
            ({ problems, bodies }) => problems.includes(code) || (bodies && WITH_BODY.includes(code)),
          )
            .map(({ method, path }) => `\`${method.toUpperCase()} ${path}\``)
            .join(", ") || "–";
  return [
    "<!-- Generated from the code by apps/sync-daemon/src/openapi/main.ts; a test fails when it is out of date. -->",
    "# Error codes",
    "",
    "Codes are stable: programs may rely on them. The texts beside them are for people.",
    "",
    "## Problems of the HTTP API",
    "A body of `application/problem+json` (RFC 9457) with `code`, and the facts of the case beside it.",
    "",
    row("code", "status", "title", "routes"),
    row("---", "---", "---", "---"),
    ...(Object.entries(PROBLEMS) as [ProblemCode, { status: number; title: string }][]).map(
      ([code, { status, title }]) => row(`\`${code}\``, status, title, usedBy(code)),
    ),
    "",
    "## Why a prompt could not be looked up",
    'Not errors: the lookup is answered with 200, `"decision": "fallback"` and one of these as `reason`.',
    "",
    row("reason", "meaning"),
    row("---", "---"),
    ...Object.entries(TOKENIZER_FAILURES).map(([reason, meaning]) => row(`\`${reason}\``, meaning)),
    "",
    "## What can be wrong with an engine's message",
    "Reasons in `aibrix_kv_events_dropped_total` and in the log, with the offset where it was found.",
    "",
    row("code", "costs"),
    row("---", "---"),
    ...FRAME_ERROR_CODES.map((code) => row(`\`${code}\``, "the message")),
    ...PAYLOAD_ERROR_CODES.map((code) => row(`\`${code}\``, "the message or one event of it")),
    "",
  ].join("\n");
}

function describe(operation: Operation, components: Map<string, Json>): Json {
  const { id, tag, summary, query, bodies, answers, path, problems, access } = operation;
  const parameters = [...pathParameters(path), ...(query === undefined ? [] : queryParameters(query))];
  const needsToken = access !== "open" || operation.accessWith !== undefined;
  const codes = [
    ...problems,
    ...(needsToken ? WITH_TOKEN : []),
    ...(bodies === undefined ? [] : WITH_BODY),
    ...ANYWHERE,
  ];
  return {
    operationId: id,
    tags: [tag],
    summary,
    security: securityOf(operation),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(bodies === undefined
      ? {}
      : { requestBody: { required: true, content: contentOf(bodies, "input", components) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, content]) => [status, answerOf(content, components)]),
      ),
      ...problemsOf(codes, components),
    },
  };
}

function answerOf(content: Operation["answers"][number] | undefined, components: Map<string, Json>): Json {
  const contents = [content ?? []].flat() as readonly Content[];
  const [first] = contents;
  return first === undefined
    ? { description: "Done." }
    : { description: descriptionOf(first), content: contentOf(contents, "output", components) };
}

/** A response for each status that the codes have. None is an answer's: what is wrong with a daemon's health is no problem of the request. */
function problemsOf(codes: readonly ProblemCode[], components: Map<string, Json>): Json {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes.filter((one) => !UNREAD.includes(one))) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const schema = schemaOf(problemDocument, "output", components);
  return Object.fromEntries(
    [...byStatus].map(([status, alike]) => [
      status,
      {
        description: `${alike.map((code) => `${code}: ${PROBLEMS[code].title}`).join("; ")}.`,
        ...(HEADERS[status] === undefined ? {} : { headers: HEADERS[status] }),
        content: { "application/problem+json": { schema } },
      },
    ]),
  );
}

function header(name: string, description: string): Json {
  return { [name]: { description, schema: { type: "string" } } };
}

/** Alternatives, of which a caller meets one; an empty one is: none. */
function securityOf({ access, accessWith }: Operation): Json[] {
  const none = {};
  switch (access) {
    case "open":
      return accessWith === undefined ? [] : [none, { token: ["read"] }];
    case "monitoring":
      // Without a token where security.open_monitoring is set.
      return [{ token: ["read"] }, none];
    case "read":
    case "admin":
      return [{ token: [access] }];
  }
}

function descriptionOf(content: Content): string {
  return "schema" in content ? (content.schema.description ?? "The answer.") : content.description;
}

function contentOf(
  contents: readonly Content[],
  io: "input" | "output",
  components: Map<string, Json>,
): Json {
  return Object.fromEntries(
    contents.map((content) =>
      "schema" in content
        ? ["application/json", { schema: schemaOf(content.schema, io, components) }]
        : [content.mediaType, { schema: TEXT.test(content.mediaType) ? { type: "string" } : BYTES }],
    ),
  );
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters(query: z.ZodObject): Json[] {
  const { properties = {}, required = [] } = convert(query, "input") as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.includes(name),
    ...(schema["description"] === undefined ? {} : { description: schema["description"] }),
    // Generated clients send defaults along, with bodies that they do not belong to.
    schema: without(without(schema, "default"), "description"),
  }));
}

/** A reference to a component where the schema has an id, the schema itself where it has none. */
function schemaOf(schema: z.ZodType, io: "input" | "output", components: Map<string, Json>): Json {
  const { $defs = {}, ...converted } = convert(schema, io) as Json & { $defs?: Record<string, Json> };
  for (const [name, definition] of Object.entries($defs)) components.set(name, without(definition, "id"));
  const id = schema.meta()?.id;
  if (id === undefined) return converted;
  // A root with an id may come as a reference into its own definitions.
  if (!(id in $defs)) components.set(id, without(converted, "id"));
  return { $ref: `#/components/schemas/${id}` };
}

function convert(schema: z.ZodType, io: "input" | "output"): Json {
  const json = without(z.toJSONSchema(schema, { io, unrepresentable: "any" }), "$schema");
  const text = JSON.stringify(json, (_key, value: unknown) => withFormat(value));
  return JSON.parse(text.replaceAll("#/$defs/", "#/components/schemas/")) as Json;
}

/** Integers that are not bounded to 32 bits say so: generators for typed languages take an integer for an int32. */
function withFormat(value: unknown): unknown {
  const schema = value as { readonly type?: unknown; readonly maximum?: number } | null;
  if (typeof value !== "object" || schema?.type !== "integer" || "format" in schema) return value;
  return { ...schema, format: (schema.maximum ?? Infinity) > INT32_MAX ? "int64" : "int32" };
}

function without(json: Json, key: string): Json {
  return Object.fromEntries(Object.entries(json).filter(([name]) => name !== key));
}
