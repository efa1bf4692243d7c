/**
 * The OpenAPI 3.1 document of the API: a projection of operations.ts, the schemas and the table of problems, made by zod-openapi.
 *
 *   Operation ─▶ ZodOpenApiOperationObject ─createDocument─▶ paths, components
 *
 * Requests are described as they may be sent (before defaults), answers as they are. Schemas with an id become components; one that reads
 * differently in requests and in answers would become two, which a test forbids.
 *
 * This file adds to zod-openapi: the width of integers, answers that may gain fields, and query
 * parameters without defaults. It also adds a response per status of the problems.
 */

import { z } from "zod";
import {
  createDocument,
  type ZodOpenApiContentObject,
  type ZodOpenApiMediaTypeObject,
  type ZodOpenApiObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiOverride,
  type ZodOpenApiResponseObject,
  type ZodOpenApiResponsesObject,
} from "zod-openapi";
import type { ProblemCode } from "@kvsync/observability/kvsync/problem-codes";

import type { Content, Operation } from "./operation.ts";
import { OPERATIONS } from "./operations.ts";
import { PROBLEMS } from "./problem-status.ts";
import { problemsOf } from "./route-problems.ts";

const INT32_MAX = 0x7fff_ffff;
const TOKEN_SCHEME = {
  type: "http",
  scheme: "bearer",
  description:
    "A token of the daemon's file of tokens. The scope that a route needs stands with it; admin includes read. A daemon without such a file asks for none.",
} as const;
const TAGS = [
  { name: "lookups", description: "Lookups for gateways: the blocks of a prompt that each worker holds." },
  { name: "engines", description: "Which engines are followed." },
  { name: "operations", description: "Health, metrics, dumps, snapshots, the log's level." },
  { name: "dashboard", description: "The daemon's web page." },
  { name: "community", description: "The API of Mooncake's Conductor and Dynamo's standalone indexer." },
];
/** Headers that answers of a status have beside their body. */
const HEADERS: Readonly<Record<number, z.ZodObject>> = {
  401: header("WWW-Authenticate", "How to authenticate (RFC 6750)."),
  403: header("WWW-Authenticate", "Which scope is missing (RFC 6750)."),
  429: header("Retry-After", "Seconds to wait."),
};
/** A caller that hung up reads no answer. */
const UNREAD: readonly ProblemCode[] = ["caller_gone"];
/** Without a schema generators leave the body, or the whole operation, out. */
const BYTES = { type: "string", format: "binary" } as const;
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
    description: "RFC 9457 problem document; facts of the error are further members.",
  });

/**
 * Makes the document.
 *
 * @returns a fresh one.
 */
export function openapiDocument(): Readonly<Record<string, unknown>> {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const operation of OPERATIONS) (paths[operation.path] ??= {})[operation.method] = describe(operation);
  const document: ZodOpenApiObject = {
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
    components: { securitySchemes: { token: TOKEN_SCHEME } },
  };
  return { ...createDocument(document, { override: completed }) };
}

function describe(operation: Operation): ZodOpenApiOperationObject {
  const { id, tag, summary, query, bodies, answers, path } = operation;
  const parameters = pathParameters(path);
  const requestParams = {
    ...(parameters === null ? {} : { path: parameters }),
    ...(query === undefined ? {} : { query: withoutDefaults(query) }),
  };
  return {
    operationId: id,
    tags: [tag],
    summary,
    security: securityOf(operation),
    ...(Object.keys(requestParams).length === 0 ? {} : { requestParams }),
    ...(bodies === undefined ? {} : { requestBody: { required: true, content: contentOf(bodies) } }),
    responses: {
      ...Object.fromEntries(Object.entries(answers).map(([status, content]) => [status, answerOf(content)])),
      ...problemResponses(problemsOf(operation)),
    },
  };
}

function answerOf(content: Operation["answers"][number] | undefined): ZodOpenApiResponseObject {
  const contents = [content ?? []].flat() as readonly Content[];
  const [first] = contents;
  return first === undefined
    ? { description: "Done." }
    : { description: descriptionOf(first), content: contentOf(contents) };
}

/** A response for each status that the codes have. None is an answer's: what is wrong with a daemon's health is no problem of the request. */
function problemResponses(codes: readonly ProblemCode[]): ZodOpenApiResponsesObject {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes.filter((one) => !UNREAD.includes(one))) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, alike]): [string, ZodOpenApiResponseObject] => [
      String(status),
      {
        description: `${alike.map((code) => `${code}: ${PROBLEMS[code].title}`).join("; ")}.`,
        ...(HEADERS[status] === undefined ? {} : { headers: HEADERS[status] }),
        content: { "application/problem+json": { schema: problemDocument } },
      },
    ]),
  );
}

function header(name: string, description: string): z.ZodObject {
  return z.object({ [name]: z.string().optional().meta({ header: { description } }) });
}

/** Alternatives, of which a caller meets one; an empty one is: none. */
function securityOf({ access, accessWith }: Operation): Record<string, string[]>[] {
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

function contentOf(contents: readonly Content[]): ZodOpenApiContentObject {
  return Object.fromEntries(contents.map((content) => mediaTypeOf(content)));
}

function mediaTypeOf(content: Content): [string, ZodOpenApiMediaTypeObject] {
  if ("schema" in content) return ["application/json", { schema: content.schema }];
  return [content.mediaType, { schema: TEXT.test(content.mediaType) ? { type: "string" } : BYTES }];
}

function pathParameters(path: string): z.ZodObject | null {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  return names.length === 0 ? null : z.object(Object.fromEntries(names.map((name) => [name, z.string()])));
}

/** Generated clients send defaults along, with bodies that they do not belong to. */
function withoutDefaults(query: z.ZodObject): z.ZodObject {
  const fields = Object.entries(query.shape as Readonly<Record<string, z.ZodType>>).map(([name, field]) => {
    const inner = field instanceof z.ZodOptional ? (field.unwrap() as z.ZodType) : field;
    const bare = inner instanceof z.ZodDefault ? (inner.unwrap() as z.ZodType).optional() : field;
    return [name, bare.meta({ ...inner.meta(), ...field.meta() })] as const;
  });
  return z.strictObject(Object.fromEntries(fields));
}

/**
 * Integers say whether they fit 32 bits: generators for typed languages take an integer for an int32. Answers are open: a later version may
 * add fields, although no test lets this one send a field that its schema lacks.
 */
const completed: ZodOpenApiOverride = ({ jsonSchema, io }) => {
  if (io === "output" && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  if (jsonSchema.type !== "integer" || jsonSchema.format !== undefined) return;
  jsonSchema.format = (jsonSchema.maximum ?? Infinity) > INT32_MAX ? "int64" : "int32";
};
