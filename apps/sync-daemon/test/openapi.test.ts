/** The API's description: valid, true to the running application both ways, and committed as it is generated. */
import { readFileSync } from "node:fs";

import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, expect, test } from "vitest";

import { openapiDocument } from "../src/openapi/document.ts";
import { OPERATIONS } from "../src/openapi/operations.ts";
import { generatedPages } from "../src/openapi/pages.ts";
import { PROBLEMS } from "../src/openapi/problem-status.ts";
import { problemsOf } from "../src/openapi/route-problems.ts";
import { type Answered, answerFault } from "./answer-check.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";

let running: DaemonInProcess;

beforeAll(async () => {
  running = await startInProcess();
});

afterAll(async () => {
  await running.stop();
});

/** Routes of the application, from the tree that fastify prints: one level per four columns, texts joined. */
function servedRoutes(): string[] {
  const routes: string[] = [];
  const parents: string[] = [];
  for (const line of running.app
    .getHttpAdapter()
    .getInstance()
    .printRoutes({ commonPrefix: false })
    .split("\n")) {
    const parts = /^((?:│ {3}| {4})*)(?:├── |└── )(.*?)(?: \(([A-Z, ]+)\))?$/.exec(line);
    if (parts === null) continue;
    const [, indent = "", text = "", methods = ""] = parts;
    const depth = indent.length / 4;
    parents.length = depth;
    parents[depth] = `${parents[depth - 1] ?? ""}${text}`;
    const path = (parents[depth] ?? "").replace(/:(\w+)/g, "{$1}");
    for (const method of methods.split(", ")) {
      if (["GET", "POST", "DELETE", "PUT", "PATCH"].includes(method))
        routes.push(`${method.toLowerCase()} ${path}`);
    }
  }
  return routes.sort();
}

test("every route that is served is described, and every one described is served", () => {
  const described = OPERATIONS.map(({ method, path }) => `${method} ${path}`).sort();
  expect(described.length).toBeGreaterThan(10);
  expect(servedRoutes()).toEqual(described);
});

test("the document is valid OpenAPI 3.1, and its references lead somewhere", async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(openapiDocument()));
  expect(result).toMatchObject({ valid: true });
  expect(validator.version).toBe("3.1");
  const text = JSON.stringify(openapiDocument());
  const { components } = openapiDocument() as { components: { schemas: Record<string, unknown> } };
  const names = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name ?? "");
  expect(names.filter((name) => !(name in components.schemas))).toEqual([]);
  expect(text).not.toContain("$defs");
  for (const [name, schema] of Object.entries(components.schemas))
    expect("type" in (schema as object) || "anyOf" in (schema as object), name).toBe(true);
});

test("an answer with a field, a status or a problem that its route does not describe is a fault", async () => {
  const { body } = await running.app.inject("/api/v1/log-level");
  const answered = { statusCode: 200, headers: { "content-type": "application/json" }, body };
  const fault = (more: Partial<Answered>): string | null =>
    answerFault("GET", "/api/v1/log-level", { ...answered, ...more });
  expect(fault({})).toBeNull();
  const more = JSON.stringify({ ...(JSON.parse(body) as object), colour: "red" });
  expect(fault({ body: more })).toMatch(/another body than its schema: .*"colour"/);
  expect(fault({ body: "{}" })).toMatch(/another body than its schema: .*"level"/);
  expect(fault({ statusCode: 202 })).toBe("GET /api/v1/log-level answered 202, which is not listed");
  const headers = { "content-type": "application/problem+json" };
  expect(fault({ headers, body: '{"code":"registry_full"}', statusCode: 503 })).toMatch(
    /registry_full, which is not/,
  );
  expect(fault({ headers, body: '{"code":"rate_limited"}', statusCode: 429 })).toBeNull();
});

test("no schema reads differently in requests and in answers: one name, one component", () => {
  const { components } = openapiDocument() as { components: { schemas: Record<string, unknown> } };
  const names = Object.keys(components.schemas);
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => name.endsWith("Output") && names.includes(name.slice(0, -6)))).toEqual([]);
});

/** Every object in the document. */
function* partsOf(value: unknown): Generator<Readonly<Record<string, unknown>>> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield value as Readonly<Record<string, unknown>>;
  for (const part of Object.values(value)) yield* partsOf(part);
}

test("generators of typed clients can use all of it: bodies have schemas, types are single, wide integers say so", () => {
  const parts = [...partsOf(JSON.parse(JSON.stringify(openapiDocument())))];
  const bodies = parts.flatMap(({ content }): unknown[] =>
    typeof content === "object" && content !== null ? Object.values(content) : [],
  );
  expect(bodies.length).toBeGreaterThan(50);
  for (const body of bodies) expect(body).toHaveProperty("schema");
  for (const part of parts) {
    expect([part["type"]].flat().filter((type) => type !== "null").length).toBeLessThan(2);
    if (part["type"] === "integer") expect(part["format"]).toMatch(/^int(32|64)$/);
    // A map of either this or that has no type elsewhere.
    expect(Object.keys(part["additionalProperties"] ?? {})).not.toContain("anyOf");
  }
});

test("parameters have no defaults: generated clients would send them with bodies that they do not belong to", () => {
  const parameters = [...partsOf(openapiDocument())].filter((part) => "in" in part && "name" in part);
  expect(parameters.length).toBeGreaterThan(5);
  for (const parameter of parameters) expect(parameter["schema"]).not.toHaveProperty("default");
});

test("every status that a problem can have is listed with its codes, and none is left to a default", () => {
  const { paths } = openapiDocument() as {
    paths: Record<string, Record<string, { responses: Record<string, { description: string }> }>>;
  };
  const { responses } = paths["/api/v1/match"]?.["post"] ?? {};
  expect(Object.keys(responses ?? {})).toEqual([
    "200",
    "400",
    "401",
    "403",
    "404",
    "408",
    "413",
    "415",
    "421",
    "422",
    "429",
    "431",
    "500",
    "503",
  ]);
  expect(responses?.["404"]?.description).toBe("unknown_model: Unknown model.");
  for (const part of partsOf(paths)) expect(part).not.toHaveProperty("default.content");
});

test("operation ids are unique, and the document is served as it is generated", async () => {
  expect(new Set(OPERATIONS.map(({ id }) => id)).size).toBe(OPERATIONS.length);
  const served = await running.app.inject("/openapi.json");
  expect(served.headers["content-type"]).toContain("application/json");
  expect(served.json()).toEqual(JSON.parse(JSON.stringify(openapiDocument())));
});

test("every error code is among the problems of a route, but for the one of requests that reach none", () => {
  const listed = new Set<string>(OPERATIONS.flatMap((operation) => problemsOf(operation)));
  const elsewhere = ["method_not_allowed"];
  const unlisted = Object.keys(PROBLEMS).filter((code) => !listed.has(code));
  expect(unlisted, "codes that no operation of openapi/operations.ts lists").toEqual(elsewhere);
});

test.each([...generatedPages()])(
  "%s is committed as it is generated (npx pnpm@12.21.0 --filter @kvsync/sync-daemon run reference)",
  (path, text) => {
    expect(readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8")).toBe(text);
  },
);
