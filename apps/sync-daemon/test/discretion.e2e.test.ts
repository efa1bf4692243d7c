/**
 * Nothing that callers send is disclosed. Recognizable tokens and prompts go through every route,
 * in requests that succeed and that fail, while the daemon logs and traces all it can. Then
 * everything that it wrote, logged and exported is searched for them.
 * S2 is of tracing.ts, T4 of remote-tokenizer.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { LOG_LEVEL_MAX } from "../src/log/log-level.ts";
import { OPERATIONS } from "../src/openapi/operations.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { OtlpReceiver } from "./otlp-receiver.ts";
import { byByte, hangUp, status, TokenizerServer } from "./tokenizer-server.ts";

const MODEL = "demo/model";
/** Words and numbers that occur nowhere else. */
const SECRET = "xylophonequartz";
const TOKEN = 2_718_281_828;
const PROMPT = `tell me about the ${SECRET} that I keep at home`;
const TOKENS = Array.from({ length: 40 }, (_, i) => TOKEN + i);
const JSON_HEADERS = { "content-type": "application/json" };
const OCTETS = { "content-type": "application/octet-stream" };
/** A caller who has decided that its requests are traced. */
const TRACED = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

let collector: OtlpReceiver;
let tokenizer: TokenizerServer;
let engine: TestEngine;
let daemon: DaemonProcess;
let written = "";
const folder = mkdtempSync(join(tmpdir(), "kvsync-discretion-"));

beforeAll(async () => {
  collector = await OtlpReceiver.start();
  tokenizer = await TokenizerServer.start(byByte);
  engine = await TestEngine.start({ id: "engine-0", model: MODEL }, 1);
  daemon = await DaemonProcess.start({
    engines: [engine.entry],
    sync: { tokenizer_endpoint: tokenizer.endpoint },
    tokenizer: { timeout_seconds: 1, circuit_failures: 1000 },
    snapshot: { directory: folder, interval_seconds: 1 },
    log: { level: LOG_LEVEL_MAX },
    tracing: { endpoint: collector.endpoint, ratio: 1, batch_ratio: 1 },
  });
  daemon.onOutput((text) => {
    written += text;
  });
  // The engine stores the very tokens: what ingest says of them is searched too.
  const promptTokens = Uint32Array.from(TOKENS);
  engine.engine.submit({ id: 1, promptTokens, output: { count: 1, seed: 1 } }, Date.now() / 1000);
  await engine.serve(1);
  await caughtUp(daemon, [engine]);
});

afterAll(async () => {
  await daemon.end();
  await Promise.all([engine.stop(), tokenizer.stop(), collector.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

function post(path: string, body: object | string, method = "POST"): Sent {
  return {
    method,
    path,
    headers: JSON_HEADERS,
    body: typeof body === "string" ? body : JSON.stringify(body),
  };
}

const messages = [{ role: "user", content: PROMPT }];
const salted = { model: MODEL, token_ids: TOKENS, cache_salt: SECRET };
const hashes = ["1", "2"];

/** By route, requests that are answered and requests that are refused in each way that looks at what was sent. */
const REQUESTS: Readonly<Record<string, readonly Sent[]>> = {
  "post /api/v1/match": [
    post("/api/v1/match", { model: MODEL, token_ids: TOKENS }),
    post("/api/v1/match", salted),
    post("/api/v1/match", { model: MODEL, prompt: PROMPT }),
    post("/api/v1/match", { model: MODEL, messages }),
    {
      method: "POST",
      path: `/api/v1/match?model=${MODEL}`,
      headers: OCTETS,
      body: new Uint8Array(Uint32Array.from(TOKENS).buffer),
    },
    post("/api/v1/match", { model: SECRET, token_ids: TOKENS }),
    post("/api/v1/match", { model: MODEL, token_ids: TOKENS, block_size: 7 }),
    post("/api/v1/match", { model: MODEL, token_ids: TOKENS, prompt: PROMPT }),
    post("/api/v1/match", { model: MODEL, token_ids: [SECRET] }),
    post("/api/v1/match", { model: MODEL, prompt: [PROMPT] }),
    post("/api/v1/match", { model: MODEL, prefix_hashes: [SECRET] }),
    post("/api/v1/match", { model: MODEL, [SECRET]: 1 }),
    post("/api/v1/match", `{"model":"${MODEL}","prompt":"${PROMPT}"`),
    post("/api/v1/match", PROMPT),
    { method: "POST", path: "/api/v1/match", headers: { "content-type": "text/plain" }, body: PROMPT },
    { method: "POST", path: `/api/v1/match?model=${SECRET}&input=${SECRET}`, headers: OCTETS, body: PROMPT },
    {
      method: "POST",
      path: `/api/v1/match?model=${MODEL}&prompt=${SECRET}`,
      headers: OCTETS,
      body: "x".repeat(17),
    },
  ],
  "get /api/v1/dump": [
    { method: "GET", path: `/api/v1/dump?model=${MODEL}` },
    { method: "GET", path: `/api/v1/dump?model=${SECRET}` },
    { method: "GET", path: `/api/v1/dump?prompt=${SECRET}` },
  ],
  "get /api/v1/engines": [{ method: "GET", path: `/api/v1/engines?prompt=${SECRET}` }],
  "post /api/v1/engines": [
    post("/api/v1/engines", { id: "x", model: MODEL, endpoint: PROMPT, prompt: PROMPT }),
    post("/api/v1/engines", `{"prompt": ${PROMPT}}`),
  ],
  "delete /api/v1/engines/{id}": [{ method: "DELETE", path: `/api/v1/engines/${SECRET}` }],
  "post /register": [post("/register", { prompt: PROMPT, token_ids: TOKENS })],
  "post /unregister": [post("/unregister", { prompt: PROMPT, token_ids: TOKENS })],
  "post /query": [
    post("/query", { model: MODEL, token_ids: TOKENS, block_size: 16, cache_salt: SECRET }),
    post("/query", { model_name: MODEL, token_ids: TOKENS }),
    post("/query", { model_name: SECRET, token_ids: TOKENS }),
    post("/query", { model: MODEL, token_ids: [PROMPT] }),
    post("/query", `[${PROMPT}`),
  ],
  "post /query_by_hash": [
    post("/query_by_hash", { model: MODEL, seq_hashes: hashes, block_size: 16 }),
    post("/query_by_hash", { model: MODEL, seq_hashes: [PROMPT] }),
    post("/query_by_hash", `{"seq_hashes": [${TOKEN}${TOKEN}${TOKEN}, ${SECRET}]}`),
  ],
  "post /api/v1/picker/explain": [
    post("/api/v1/picker/explain", salted),
    post("/api/v1/picker/explain", { model: MODEL, prompt: PROMPT, [SECRET]: 1 }),
  ],
  "post /api/v1/pick": [
    post("/api/v1/pick", salted),
    post("/api/v1/pick", { model: MODEL, messages }),
    post("/api/v1/pick", { model: SECRET, prompt: PROMPT, token_ids: TOKENS }),
    post("/api/v1/pick", `{"prompt": ${PROMPT}}`),
  ],
  "post /api/v1/pick/{id}/end": [
    post(`/api/v1/pick/${SECRET}/end`, {}),
    post(`/api/v1/pick/${SECRET}/end`, { served: PROMPT, [SECRET]: 1 }),
  ],
  "post /api/v1/outcomes": [
    post("/api/v1/outcomes", { outcomes: [{ worker: SECRET, predicted: 1, cached: 1 }] }),
    post("/api/v1/outcomes", { outcomes: [{ worker: PROMPT, prompt: PROMPT }] }),
  ],
  "post /api/v1/alerts/silences": [
    post("/api/v1/alerts/silences", {
      matchers: [{ name: "alertname", value: SECRET, isRegex: false, isEqual: true }],
      startsAt: "2026-01-01T00:00:00Z",
      endsAt: "2026-01-01T01:00:00Z",
      comment: PROMPT,
    }),
    post("/api/v1/alerts/silences", { prompt: PROMPT, [SECRET]: 1 }),
  ],
  "delete /api/v1/alerts/silences/{id}": [{ method: "DELETE", path: `/api/v1/alerts/silences/${SECRET}` }],
  "put /api/v1/log-level": [
    post("/api/v1/log-level", { level: PROMPT }, "PUT"),
    post("/api/v1/log-level", { level: TOKEN, prompt: PROMPT }, "PUT"),
  ],
};

/** Routes that take no body: asked with a secret in the address. */
function requestsOf(route: string): readonly Sent[] {
  const known = REQUESTS[route];
  if (known !== undefined) return known;
  const [method = "", path = ""] = route.split(" ");
  expect(method, `${route} takes a body: say above what is sent to it`).toBe("get");
  return [{ method: "GET", path: `${path}?prompt=${SECRET}` }];
}

const routes = OPERATIONS.map(({ method, path }) => `${method} ${path}`);

async function send({ method, path, headers = {}, body }: Sent): Promise<number> {
  const response = await daemon.fetch(path, {
    method,
    headers: { ...headers, ...TRACED },
    ...(body === undefined ? {} : { body }),
  });
  // A stream of events has no end: its first bytes are enough.
  if (response.headers.get("content-type")?.startsWith("text/event-stream") === true) {
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
  } else await response.arrayBuffer();
  return response.status;
}

test("tokens and prompts are in no log line, no other output and no span, whatever becomes of the request (S2, T4)", async () => {
  const statuses: number[] = [];
  for (const route of routes) for (const request of requestsOf(route)) statuses.push(await send(request));
  for (const answer of [status(500), status(400), hangUp]) {
    tokenizer.answers = [answer];
    const prompt = `${PROMPT}, ${tokenizer.bodies.length}`;
    statuses.push(await send(post("/api/v1/match", { model: MODEL, prompt })));
  }
  statuses.push(await send({ method: "GET", path: `/${SECRET}/${TOKEN}?prompt=${SECRET}` }));
  // It was not for want of asking: all kinds of answers came, and the tokenizer saw the prompt.
  expect(statuses).toEqual(expect.arrayContaining([200, 400, 404, 415, 422]));
  expect(tokenizer.bodies.some((body) => body.includes(SECRET))).toBe(true);
  await until("everything was exported", () =>
    Promise.resolve(
      collector.spans.some(
        ({ name, attributes }) => name === "GET unmatched" && attributes["http.response.status_code"] === 404,
      ),
    ),
  );
  await until("everything was logged", () =>
    Promise.resolve(daemon.log.some((line) => line["event"] === "request" && line["route"] === "unmatched")),
  );
  const exported = collector.bodies.join("\n");
  for (const name of ["lookup", "tokenize", "ingest.apply"]) expect(exported).toContain(`"${name}"`);
  for (const event of ["lookup_answered", "tokenizer_asked", "event_applied", "message_taken"])
    expect(written).toContain(event);
  for (const [where, text] of Object.entries({ written, exported })) {
    for (const secret of [SECRET, ...TOKENS.map(String)]) {
      const at = text.indexOf(secret);
      expect(
        at < 0 ? null : text.slice(Math.max(0, at - 300), at + 100),
        `${where} has ${secret}`,
      ).toBeNull();
    }
  }
});
