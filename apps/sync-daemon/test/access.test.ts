/**
 * Access: every route with every kind of token, and the answer to a refused caller, which contains
 * no token, prompt or token id. The daemon core is real and requests are injected. Sockets, TLS and
 * rotation are in tls.test.ts.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, test } from "vitest";

import { OPERATIONS } from "../src/openapi/operations.ts";
import { AccessGuard } from "../src/security/access-guard.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";

const READ = "read-token-0123456789";
const ADMIN = "admin-token-0123456789";
const folder = mkdtempSync(join(tmpdir(), "kvsync-access-"));
const tokensFile = join(folder, "tokens.yaml");
writeFileSync(
  tokensFile,
  `tokens:\n  - { name: gateway, scope: read, token: ${READ} }\n  - { name: operator, scope: admin, sha256: ${createHash("sha256").update(ADMIN).digest("hex")} }\n`,
);

/** A daemon with these settings that logs everything there is. */
function start(argv: readonly string[]): Promise<DaemonInProcess> {
  return startInProcess([...argv, "--log-level", "5"]);
}

let guarded: DaemonInProcess;
let limited: DaemonInProcess;

beforeAll(async () => {
  guarded = await start(["--security-tokens-file", tokensFile, "--callers-refused-per-second", "0"]);
  limited = await start([
    ...["--security-tokens-file", tokensFile, "--security-open-monitoring", "true"],
    ...[
      "--callers-read-per-second",
      "5",
      "--callers-admin-per-second",
      "2",
      "--callers-refused-per-second",
      "3",
    ],
  ]);
});

afterAll(async () => {
  for (const running of [guarded, limited]) await running.stop();
  rmSync(folder, { recursive: true, force: true });
});

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Statuses of a route for a stranger, a reader and an administrator; other statuses than these two mean that the caller was let in. */
async function verdicts(method: "GET" | "POST" | "DELETE", url: string): Promise<string> {
  const said: string[] = [];
  for (const headers of [{}, bearer(READ), bearer(ADMIN)]) {
    const { statusCode } = await (url.endsWith("/stream")
      ? headOf(method, url, headers)
      : guarded.app.inject({ method, url, headers }));
    said.push(statusCode === 401 || statusCode === 403 ? String(statusCode) : "in");
  }
  return said.join(" ");
}

/** A stream has no end: the head of its answer says who is let in. */
async function headOf(
  method: "GET" | "POST" | "DELETE",
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ readonly statusCode: number }> {
  const response = await guarded.app.inject({ method, url, headers, payloadAsStream: true });
  response.stream().destroy();
  return response;
}

const VERDICTS = {
  open: "in in in",
  monitoring: "401 in in",
  read: "401 in in",
  admin: "401 403 in",
} as const;

test.each(OPERATIONS.map(({ method, path, access }) => [method.toUpperCase(), path, access] as const))(
  "%s %s lets in whom it declares: %s",
  async (method, path, access) => {
    expect(await verdicts(method as "GET", path.replace("{id}", "nobody"))).toBe(VERDICTS[access]);
  },
);

test("what changes or gives away the state needs admin scope, questions read scope, probes nothing", () => {
  const byAccess = (access: string): string[] =>
    OPERATIONS.filter((operation) => operation.access === access).map(({ id }) => id);
  expect(byAccess("open").filter((id) => !id.startsWith("dashboard"))).toEqual([
    "livez",
    "readyz",
    "openapi",
  ]);
  for (const id of [
    "dumpIndex",
    "registerEngine",
    "removeEngine",
    "communityRegister",
    "communityUnregister",
    "communityDump",
    "snapshot",
  ])
    expect(byAccess("admin")).toContain(id);
  for (const id of ["match", "communityQuery", "communityQueryByHash"])
    expect(byAccess("read")).toContain(id);
});

test("the engines that readiness waits for are for readers, the answer itself for everybody", async () => {
  expect((await guarded.app.inject("/readyz")).statusCode).toBe(200);
  expect((await guarded.app.inject("/readyz?verbose")).statusCode).toBe(401);
  expect((await guarded.app.inject({ url: "/readyz?verbose", headers: bearer(READ) })).json()).toHaveProperty(
    "engines",
  );
});

test("a route that nobody described cannot be registered, so that none is open by being forgotten (A1)", async () => {
  const { default: fastify } = await import("fastify");
  const server = fastify();
  AccessGuard.install(server, {
    ruleOf: (_method, url) => (url === "/known" ? { access: "open" } : undefined),
    tokens: () => null,
    openMonitoring: false,
    callers: guarded.daemon.settings.callers,
    refused: () => undefined,
    admin: () => undefined,
  });
  server.get("/known", () => "yes");
  expect(() => server.post("/forgotten", () => "yes")).toThrow("route POST /forgotten declares no access");
  expect(() => server.get("/forgotten", () => "yes")).toThrow("route GET /forgotten declares no access");
});

const MISSING = "this route needs a token with read scope: send Authorization: Bearer <token>";
test.each([
  [undefined, 401, "missing_token", MISSING, 'Bearer realm="kvsync"'],
  [
    "",
    400,
    "malformed_authorization",
    "the Authorization header is not usable; expected Authorization: Bearer <token>",
    'Bearer realm="kvsync", error="invalid_request"',
  ],
  [
    "Basic Z2F0ZXdheTpzZWNyZXQ=",
    400,
    "malformed_authorization",
    "the Authorization header is not usable",
    'error="invalid_request"',
  ],
  [
    `Bearer ${READ} ${READ}`,
    400,
    "malformed_authorization",
    "the Authorization header is not usable",
    'error="invalid_request"',
  ],
  [READ, 400, "malformed_authorization", "the Authorization header is not usable", 'error="invalid_request"'],
  [
    `Bearer ${READ}x`,
    401,
    "unknown_token",
    "no caller has this token; it may have been replaced",
    'error="invalid_token"',
  ],
  [`Bearer ${"x".repeat(4000)}`, 401, "unknown_token", "no caller has this token", 'error="invalid_token"'],
])("with the header %j a caller reads %i %s", async (authorization, status, code, detail, challenge) => {
  const headers = authorization === undefined ? {} : { authorization };
  const response = await guarded.app.inject({ url: "/api/v1/engines", headers });
  expect(response.statusCode).toBe(status);
  expect(response.headers["content-type"]).toContain("application/problem+json");
  expect(response.headers["www-authenticate"]).toContain(challenge);
  const problem = response.json<{ detail: string }>();
  expect(problem).toMatchObject({ code, status, type: `urn:kvsync:problem:${code}` });
  expect(problem.detail.slice(0, detail.length)).toBe(detail);
  if (authorization !== undefined && authorization !== "")
    expect(response.body).not.toContain(authorization.split(" ").at(-1));
});

test("a reader who wants to change something is told whose token it is and what it lacks", async () => {
  const response = await guarded.app.inject({ url: "/api/v1/dump?model=m", headers: bearer(READ) });
  expect(response.statusCode).toBe(403);
  expect(response.headers["www-authenticate"]).toBe(
    'Bearer realm="kvsync", error="insufficient_scope", scope="admin"',
  );
  expect(response.json()).toMatchObject({
    code: "insufficient_scope",
    scope: "admin",
    token_name: "gateway",
    detail: "the token gateway has read scope; this route needs admin",
  });
});

test("a stranger's body is not read: one far beyond the limit is refused for its sender (A2)", async () => {
  const response = await guarded.app.inject({
    method: "POST",
    url: "/api/v1/match",
    headers: { "content-type": "application/json" },
    payload: "x".repeat(17 * 1024 * 1024),
  });
  expect(response.statusCode).toBe(401);
});

test("a caller is told whose token it has, and without tokens that it may do everything", async () => {
  const who = async (daemon: DaemonInProcess, headers: object): Promise<unknown> =>
    (await daemon.app.inject({ url: "/api/v1/whoami", headers: { ...headers } })).json();
  expect(await who(guarded, bearer(READ))).toEqual({ name: "gateway", scope: "read", tokens_in_use: true });
  expect(await who(guarded, bearer(ADMIN))).toEqual({
    name: "operator",
    scope: "admin",
    tokens_in_use: true,
  });
  const open = await start([]);
  try {
    expect(await who(open, bearer(READ))).toEqual({ name: null, scope: "admin", tokens_in_use: false });
  } finally {
    await open.stop();
  }
});

test("the scheme's name may be written in any case, and HEAD needs what GET needs", async () => {
  const headers = { authorization: `bearer ${READ}` };
  expect((await guarded.app.inject({ url: "/api/v1/engines", headers })).statusCode).toBe(200);
  expect((await guarded.app.inject({ method: "HEAD", url: "/api/v1/engines" })).statusCode).toBe(401);
  expect((await guarded.app.inject({ method: "GET", url: "/nowhere" })).statusCode).toBe(404);
});

test("monitoring is open where it is set so, and probes in any case", async () => {
  for (const url of [
    "/metrics",
    "/api/v1/metrics",
    "/health",
    "/api/v1/health",
    "/api/v1/kv-sync/health",
    "/livez",
    "/readyz?verbose",
  ])
    expect((await limited.app.inject(url)).statusCode, url).toBeLessThan(400);
  expect((await limited.app.inject("/api/v1/engines")).statusCode).toBe(401);
});

test("one caller's requests in a second are bounded by scope, another's are not touched, and it is told when to come back", async () => {
  const ask = async (headers: object, count: number, method: "GET" | "DELETE" = "GET") => {
    const url = method === "GET" ? "/api/v1/engines" : "/api/v1/engines/nobody";
    return Promise.all(
      Array.from({ length: count }, () => limited.app.inject({ method, url, headers: { ...headers } })),
    );
  };
  const readers = await ask(bearer(READ), 30);
  const refused = readers.filter(({ statusCode }) => statusCode === 429);
  expect(refused.length).toBeGreaterThan(0);
  expect(readers.length - refused.length).toBeGreaterThanOrEqual(5);
  expect(refused[0]?.headers["retry-after"]).toBe("1");
  expect(refused[0]?.json()).toMatchObject({
    code: "rate_limited",
    per_second: 5,
    retry_after_seconds: 1,
    detail: "more than 5 requests with read scope of one caller in a second (callers.read_per_second)",
  });
  expect((await ask(bearer(ADMIN), 1))[0]?.statusCode).toBe(200);
  const removals = await ask(bearer(ADMIN), 5, "DELETE");
  expect(removals.map(({ statusCode }) => statusCode)).toContain(429);
  expect(removals.map(({ statusCode }) => statusCode)).toContain(404);
  const strangers = await ask(bearer("guess-0123456789abcdef"), 7);
  expect(strangers.map(({ statusCode }) => statusCode)).toContain(429);
  expect(strangers.map(({ statusCode }) => statusCode)).toContain(401);
});

test("without tokens every caller has every scope, and the rates of both scopes count (A3)", async () => {
  const open = await start(["--callers-read-per-second", "5", "--callers-admin-per-second", "2"]);
  const statuses = async (method: "GET" | "DELETE", url: string): Promise<number[]> => {
    const asked = Array.from({ length: 30 }, () => open.app.inject({ method, url }));
    return (await Promise.all(asked)).map(({ statusCode }) => statusCode);
  };
  try {
    const reads = await statuses("GET", "/api/v1/engines");
    expect([...new Set(reads)].sort()).toEqual([200, 429]);
    const removals = await statuses("DELETE", "/api/v1/engines/nobody");
    expect([...new Set(removals)].sort()).toEqual([404, 429]);
  } finally {
    await open.stop();
  }
});

test("refusals are counted by code, and who did something as admin is logged by name; no token is in metrics or log (A4)", async () => {
  await guarded.app.inject({ method: "DELETE", url: "/api/v1/engines/nobody", headers: bearer(ADMIN) });
  const { body } = await guarded.app.inject({ url: "/metrics", headers: bearer(READ) });
  for (const code of ["missing_token", "malformed_authorization", "unknown_token", "insufficient_scope"])
    expect(body).toMatch(new RegExp(`${NAMESPACE}_kv_access_refusals_total\\{code="${code}"\\} [1-9]`));
  const admin = guarded.log.filter(({ event }) => event === "admin_request");
  expect(admin.at(-1)).toMatchObject({
    facts: { token_name: "operator", method: "DELETE", route: "/api/v1/engines/:id", status: 404 },
  });
  const everything = JSON.stringify([guarded.log, limited.log]) + body;
  for (const secret of [READ, ADMIN, "Z2F0ZXdheTpzZWNyZXQ="]) expect(everything).not.toContain(secret);
});

const SECRET = "the patient told me in confidence";
const IDS = "123454321";
test.each([
  ["/api/v1/match", `{"model":"m","prompt":"${SECRET}"`],
  ["/api/v1/match", `"${SECRET}"`],
  ["/api/v1/match", SECRET],
  ["/api/v1/match", `{"model":"m","prompt":"${SECRET}","token_ids":[${IDS}]}`],
  ["/api/v1/match", `{"model":"m","token_ids":[${IDS},"${SECRET}"]}`],
  ["/api/v1/match", `{"model":"m","token_ids":[${IDS}e99]}`],
  ["/api/v1/match", `{"model":"m","token_ids":{"${SECRET}":${IDS}}}`],
  ["/api/v1/match", `{"model":"m","${SECRET}":true}`],
  ["/api/v1/match", `{"model":"m","messages":[{"role":"user","content":"${SECRET}","${SECRET}":1}]}`],
  ["/api/v1/match", `{"model":"m","messages":[{"${SECRET}":"user"}]}`],
  ["/api/v1/match", `{"model":"m","messages":"${SECRET}"}`],
  ["/api/v1/match", `{"model":"m","prompt":["${SECRET}"]}`],
  ["/api/v1/match", `{"model":"m","prefix_hashes":["${SECRET}"]}`],
  ["/api/v1/match", `{"model":"m","prompt":"${SECRET}","cache_salt":7}`],
  ["/api/v1/match?model=m&x=y", SECRET],
  ["/query", `{"model":"m","token_ids":["${SECRET}",${IDS}]}`],
  ["/query", `{"model":"m","token_ids":[${IDS}],"${SECRET}":1}`],
  ["/query", `{"model":"m","token_ids":[${IDS}]`],
  ["/query_by_hash", `{"model":"m","seq_hashes":["${SECRET}",${IDS}]}`],
  ["/query_by_hash", `{"model":"m","seq_hashes":[${IDS}`],
  ["/api/v1/engines", `{"id":"a","model":"m","endpoint":"tcp://h:1","${SECRET}":1}`],
])("POST %s %s is refused without repeating what it was asked about", async (url, payload) => {
  const { app, log } = guarded;
  const linesBefore = log.length;
  const response = await app.inject({
    method: "POST",
    url,
    headers: { ...bearer(ADMIN), "content-type": "application/json" },
    payload,
  });
  expect(response.statusCode).toBeGreaterThanOrEqual(400);
  expect(response.statusCode).toBeLessThan(500);
  expect(response.json<{ detail: string }>().detail.length).toBeGreaterThan(5);
  for (const secret of [SECRET, IDS, SECRET.slice(0, 12)]) {
    expect(response.body).not.toContain(secret);
    expect(JSON.stringify(log.slice(linesBefore))).not.toContain(secret);
  }
});

test.each([
  ["GET", "/nowhere?prompt=SECRET", 404],
  ["POST", "/api/v1/mach/SECRET", 404],
  ["GET", "/api/v1/engines/%zz?SECRET", 400],
  ["GET", "/api/v1/dump?model=a&model=SECRET", 400],
  ["PATCH", "/api/v1/match?cache_salt=SECRET", 405],
  ["POST", "/api/v1/match?cache_salt=SECRET", 415],
  ["DELETE", `/api/v1/engines/${"SECRET".repeat(60)}`, 400],
])(
  "%s %s is refused without repeating the address, which may have a salt or a prompt in it",
  async (method, url, status) => {
    const { app, log } = guarded;
    const linesBefore = log.length;
    const headers = { ...bearer(ADMIN), ...(method === "POST" ? { "content-type": "text/x" } : {}) };
    const response = await app.inject({
      method: method as "GET",
      url,
      headers,
      ...(method === "POST" ? { payload: "a" } : {}),
    });
    expect([response.statusCode, response.body]).toEqual([status, expect.not.stringContaining("SECRET")]);
    expect(response.headers["content-type"]).toContain("application/problem+json");
    expect(JSON.stringify(log.slice(linesBefore))).not.toContain("SECRET");
  },
);

test("a daemon that would listen beyond loopback without tokens ends with code 2 before it listens, and says what to set", async () => {
  const main = fileURLToPath(new URL("../dist/main.js", import.meta.url));
  const ended = await new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
    execFile(
      process.execPath,
      [main, "--host", "0.0.0.0", "--port", "0"],
      { timeout: 60_000 },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : error.code, out, err });
      },
    );
  });
  expect(ended).toMatchObject({ code: 2, out: "" });
  expect(ended.err).toMatch(
    /^kvsync-daemon: settings: security\.tokens_file: is missing; expected a file of tokens/,
  );
});

test.each([
  [["--host", "::", "--security-trust-every-caller-on-the-network", "true"], "every_caller_trusted"],
  [["--host", "::", "--security-tokens-file", tokensFile], "tokens_without_tls"],
])("started with %j the log warns with %s", async (argv, event) => {
  // Not listening: the application alone is made.
  const { log, stop } = await start(argv);
  await stop();
  expect(log.filter(({ level }) => level === "warn").map((line) => line.event)).toEqual([event]);
});
