/** The client against real servers that answer, refuse, reset, hang, or are something else. A real daemon is asked in sync-daemon's tests. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, expect, test } from "vitest";

import { ClientError } from "../src/client-error.ts";
import { KvsyncClient } from "../src/kvsync-client.ts";

interface Received {
  readonly url: URL;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** Where patience is not what is tested: a busy machine may be slow to answer itself. */
const PATIENT_MS = 10_000;
const ANSWER = { decision: "exact", matches: [] };

async function serve(
  ...answers: ((response: ServerResponse) => void)[]
): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "", "http://localhost");
      received.push({ url, headers: request.headers, body: Buffer.concat(chunks) });
      (answers.length > 1 ? answers.shift() : answers[0])?.(response);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received };
}

const good = (response: ServerResponse): void => void response.end(JSON.stringify(ANSWER));
const reset = (response: ServerResponse): void => void response.socket?.resetAndDestroy();
const silent = (): void => undefined;

async function failure(promise: Promise<unknown>): Promise<ClientError> {
  const error: unknown = await promise.then(
    () => "an answer",
    (reason: unknown) => reason,
  );
  if (error instanceof ClientError) return error;
  throw new Error(`expected a ClientError, not ${String(error)}`);
}

test("tokens and hashes travel as little-endian bytes, the rest as parameters; text travels as JSON", async () => {
  const { url, received } = await serve(good);
  const client = new KvsyncClient({ url: `${url}/kv/`, token: "secret", timeoutMs: PATIENT_MS });
  const options = {
    model: "a/b",
    loraName: "l",
    blockSize: 16,
    workers: ["x", "y"],
    topK: 2,
    includeUnmatched: true,
  };
  await client.match({ ...options, tokenIds: [1, 0xffff_ffff] });
  await client.match({ model: "m", prefixHashes: [0x1122334455667788n] });
  await client.match({
    model: "m",
    workers: ["x"],
    messages: [{ role: "user", content: "hi" }],
    addGenerationPrompt: false,
  });
  const [tokens, hashes, chat] = received;
  expect(tokens?.url.pathname).toBe("/kv/api/v1/match");
  expect(Object.fromEntries(tokens?.url.searchParams ?? [])).toEqual({
    model: "a/b",
    lora_name: "l",
    block_size: "16",
    workers: "x,y",
    top_k: "2",
    include_unmatched: "true",
    input: "token_ids",
  });
  expect(tokens?.headers).toMatchObject({
    authorization: "Bearer secret",
    "content-type": "application/octet-stream",
  });
  expect(tokens?.body.toString("hex")).toBe("01000000ffffffff");
  expect(hashes?.body.toString("hex")).toBe("8877665544332211");
  expect(JSON.parse(chat?.body.toString() ?? "")).toEqual({
    model: "m",
    workers: ["x"],
    messages: [{ role: "user", content: "hi" }],
    add_generation_prompt: false,
  });
});

test("tokens with media travel as JSON, and without any as bytes", async () => {
  const { url, received } = await serve(good);
  const client = new KvsyncClient({ url, timeoutMs: PATIENT_MS });
  const mmFeatures = [{ identifier: "cat", offset: 1, length: 2 }];
  await client.match({ model: "m", tokenIds: Uint32Array.of(1, 7, 7, 2), mmFeatures });
  await client.match({ model: "m", tokenIds: [1], mmFeatures: [] });
  expect(received[0]?.headers["content-type"]).toBe("application/json");
  expect(JSON.parse(String(received[0]?.body))).toEqual({
    model: "m",
    token_ids: [1, 7, 7, 2],
    mm_features: mmFeatures,
  });
  expect(received[1]?.headers["content-type"]).toBe("application/octet-stream");
  await expect(client.match({ model: "m", tokenIds: [-1], mmFeatures })).rejects.toThrow(RangeError);
});

test("token ids and hashes out of range are refused before anything is sent", async () => {
  const { url, received } = await serve(good);
  const client = new KvsyncClient({ url, timeoutMs: PATIENT_MS });
  await expect(client.match({ model: "m", tokenIds: [1, -1] })).rejects.toThrow("tokenIds[1] is -1");
  await expect(client.match({ model: "m", tokenIds: [1.5] })).rejects.toThrow(RangeError);
  await expect(client.match({ model: "m", prefixHashes: [1n << 64n] })).rejects.toThrow(RangeError);
  expect(received).toEqual([]);
});

test("a reset is tried again once, and a second one is unreachable (L2)", async () => {
  const once = await serve(reset, good);
  expect(
    await new KvsyncClient({ url: once.url, timeoutMs: PATIENT_MS }).match({ model: "m", prompt: "a" }),
  ).toEqual(ANSWER);
  expect(once.received).toHaveLength(2);
  const always = await serve(reset);
  const error = await failure(
    new KvsyncClient({ url: always.url, timeoutMs: PATIENT_MS }).match({ model: "m", tokenIds: [1] }),
  );
  expect(error.code).toBe("unreachable");
  expect(always.received).toHaveLength(2);
});

test("a full daemon is not asked twice (L2)", async () => {
  const { url, received } = await serve((response) => {
    response.statusCode = 503;
    response.end(JSON.stringify({ code: "overloaded", status: 503 }));
  });
  const client = new KvsyncClient({ url, timeoutMs: PATIENT_MS });
  expect((await failure(client.match({ model: "m", tokenIds: [1] }))).facts).toMatchObject({ status: 503 });
  expect(received).toHaveLength(1);
});

test("silence ends at the deadline, after a second attempt too, and is not asked twice (L1, L2)", async () => {
  const second = await serve(reset, silent);
  const late = new KvsyncClient({ url: second.url, timeoutMs: 200 }).match({ model: "m", tokenIds: [1] });
  expect((await failure(late)).facts).toEqual({ code: "timeout", timeoutMs: 200 });
  expect(second.received).toHaveLength(2);
  const { url, received } = await serve(silent);
  const error = await failure(new KvsyncClient({ url, timeoutMs: 60 }).match({ model: "m", tokenIds: [1] }));
  expect(error.facts).toEqual({ code: "timeout", timeoutMs: 60 });
  expect(received).toHaveLength(1);
});

test("an aborted call rejects with the reason of its signal (L1)", async () => {
  const { url } = await serve(silent);
  const controller = new AbortController();
  const call = new KvsyncClient({ url, timeoutMs: 10_000 }).match(
    { model: "m", prompt: "a" },
    { signal: controller.signal },
  );
  controller.abort(new Error("the request is gone"));
  await expect(call).rejects.toThrow("the request is gone");
});

test("a problem document is told with its code, and something else with its status", async () => {
  const problem = { code: "unknown_model", detail: "no engine serves it", status: 404, known: [] };
  const { url } = await serve(
    (response) => {
      response.statusCode = 404;
      response.end(JSON.stringify(problem));
    },
    (response) => {
      response.statusCode = 502;
      response.end("<html>bad gateway</html>");
    },
    (response) => response.end("[]"),
  );
  const client = new KvsyncClient({ url, timeoutMs: PATIENT_MS });
  const refused = await failure(client.match({ model: "m", prompt: "a" }));
  expect(refused.facts).toEqual({ code: "refused", status: 404, problem });
  expect(refused.message).toBe("no engine serves it");
  expect((await failure(client.match({ model: "m", prompt: "a" }))).facts).toEqual({
    code: "not_a_daemon",
    status: 502,
  });
  expect((await failure(client.match({ model: "m", prompt: "a" }))).facts).toEqual({
    code: "not_a_daemon",
    status: 200,
  });
});

test.each([302, 307, 308])(
  "a redirect (%i) is not followed: neither prompt nor token go elsewhere (L3)",
  async (status) => {
    const { url, received } = await serve((response) => {
      response.writeHead(status, { location: "/elsewhere" }).end();
    }, good);
    const error = await failure(
      new KvsyncClient({ url, token: "secret", timeoutMs: PATIENT_MS }).match({ model: "m", tokenIds: [1] }),
    );
    expect(error.facts).toEqual({ code: "not_a_daemon", status });
    expect(received.map((request) => request.url.pathname)).toEqual(["/api/v1/match"]);
  },
);

test.each([
  '{"decision":"exact"}',
  '{"decision":1,"matches":[]}',
  '{"decision":"exact","matches":{}}',
  "null",
])("%s is no answer: a gateway would fail on it (L4)", async (body) => {
  const { url } = await serve((response) => response.end(body));
  const error = await failure(
    new KvsyncClient({ url, timeoutMs: PATIENT_MS }).match({ model: "m", prompt: "a" }),
  );
  expect(error.facts).toEqual({ code: "not_a_daemon", status: 200 });
});

test("a token from a file may end in a newline; one that cannot be sent is refused at once, and not repeated (L4)", async () => {
  const { url, received } = await serve(good);
  await new KvsyncClient({ url, token: "secret\n", timeoutMs: PATIENT_MS }).match({
    model: "m",
    prompt: "a",
  });
  expect(received[0]?.headers["authorization"]).toBe("Bearer secret");
  const told = (options: { url: string; token?: string }): string => {
    try {
      new KvsyncClient(options);
    } catch (error) {
      return String(error);
    }
    return "taken";
  };
  expect(told({ url, token: "sec\nret" })).toBe("TypeError: token: expected visible ASCII without spaces");
  expect(told({ url: "http://user:hidden@localhost" })).toMatch(/^TypeError: url: expected none with a user/);
  expect(told({ url: "http://user:hidden@localhost" })).not.toContain("hidden");
  expect(told({ url: "ftp://localhost" })).toBe("TypeError: url: expected http or https, not ftp:");
});

test("an answer that breaks off is unreachable, and not asked for again: the daemon has worked for it already", async () => {
  const { url, received } = await serve((response) => {
    response.write('{"decision"', () => setImmediate(() => response.socket?.destroy()));
  });
  const error = await failure(
    new KvsyncClient({ url, timeoutMs: PATIENT_MS }).match({ model: "m", tokenIds: [1] }),
  );
  expect(error.code).toBe("unreachable");
  expect(received).toHaveLength(1);
});

const PICK = {
  id: "7",
  endpoints: [
    { endpoint: "10.0.0.7:8000", worker: "a", dp_rank: 0, matched_tokens: 16, cost: { prefill: 3 } },
  ],
  decision: "index",
  trust: "exact",
  prompt_tokens: 19,
  predicted_cached_tokens: 16,
  expires_seconds: 600,
};

function answerWith(body: unknown, status = 200): (response: ServerResponse) => void {
  return (response) => {
    response.statusCode = status;
    response.end(status === 204 ? undefined : JSON.stringify(body));
  };
}

test("a pick asks with the prompt as JSON, and its end is told under its id", async () => {
  const { url, received } = await serve(answerWith(PICK), answerWith(null, 204));
  const client = new KvsyncClient({ url: `${url}/kv`, timeoutMs: PATIENT_MS });
  const question = {
    model: "m",
    tokenIds: Uint32Array.of(1, 2),
    cacheSalt: "s",
    endpoints: ["10.0.0.7:8000"],
  };
  expect(await client.pick(question)).toEqual(PICK);
  await client.endPick("a/7", { served: "10.0.0.8:8000", cachedTokens: 16 });
  expect(received.map((one) => [one.url.pathname, JSON.parse(one.body.toString()) as unknown])).toEqual([
    ["/kv/api/v1/pick", { model: "m", cache_salt: "s", endpoints: ["10.0.0.7:8000"], token_ids: [1, 2] }],
    ["/kv/api/v1/pick/a%2F7/end", { served: "10.0.0.8:8000", cached_tokens: 16 }],
  ]);
  await expect(client.pick({ model: "m", tokenIds: [-1] })).rejects.toThrow("tokenIds[0] is -1");
});

test("what is booked or counted is not sent twice after a reset, since the daemon may have taken it (L2)", async () => {
  const calls = [
    (client: KvsyncClient) => client.pick({ model: "m", prompt: "a" }),
    (client: KvsyncClient) => client.endPick("7"),
    (client: KvsyncClient) => client.reportOutcomes([]),
  ];
  for (const call of calls) {
    const { url, received } = await serve(reset);
    const error = await failure(call(new KvsyncClient({ url, timeoutMs: PATIENT_MS })));
    expect([error.code, received.length]).toEqual(["unreachable", 1]);
  }
});

test("outcomes are sent as one list, in the words of the wire", async () => {
  const { url, received } = await serve(answerWith({ taken: 1 }));
  const client = new KvsyncClient({ url, timeoutMs: PATIENT_MS });
  await client.reportOutcomes([{ worker: "a", predicted: 32, cached: 16 }]);
  expect(received[0]?.url.pathname).toBe("/api/v1/outcomes");
  expect(JSON.parse(String(received[0]?.body))).toEqual({
    outcomes: [{ worker: "a", predicted: 32, cached: 16 }],
  });
});

test("a pick without endpoints, or an answer of something else, is no pick (L4)", async () => {
  for (const body of [
    { ...PICK, endpoints: [] },
    { decision: "exact", matches: [] },
  ]) {
    const { url } = await serve(answerWith(body));
    const error = await failure(
      new KvsyncClient({ url, timeoutMs: PATIENT_MS }).pick({ model: "m", prompt: "a" }),
    );
    expect(error.facts).toEqual({ code: "not_a_daemon", status: 200 });
  }
});

test("what operators look at is asked by GET under its own path, with the token and without a body", async () => {
  const answers = [
    { ranks: [] },
    { contexts: [] },
    { settings: [] },
    { lines: [], last: 4 },
    { ranks: [{}] },
    { series: {} },
  ];
  const { url, received } = await serve(
    ...answers.map((answer) => (response: ServerResponse) => void response.end(JSON.stringify(answer))),
  );
  const client = new KvsyncClient({ url, token: "abc", timeoutMs: PATIENT_MS });
  expect(await client.engine("a/b c")).toEqual(answers[0]);
  expect(await client.index()).toEqual(answers[1]);
  expect(await client.system()).toEqual(answers[2]);
  expect(await client.logs({ level: "warn", after: 3, pod: undefined })).toEqual(answers[3]);
  expect(await client.rankHours([3, 17])).toEqual(answers[4]);
  expect(await client.history()).toEqual(answers[5]);
  expect(await client.history(60)).toEqual(answers[5]);
  expect(received.map(({ url: { pathname, search } }) => pathname + search)).toEqual([
    "/api/v1/engines/a%2Fb%20c",
    "/api/v1/index",
    "/api/v1/system",
    "/api/v1/logs?level=warn&after=3",
    "/api/v1/dashboard/ranks?slots=3,17",
    "/api/v1/dashboard/history?seconds=3600",
    "/api/v1/dashboard/history?seconds=60",
  ]);
  for (const { headers, body } of received) {
    expect(headers).toMatchObject({ authorization: "Bearer abc" });
    expect(headers).not.toHaveProperty("content-type");
    expect(body.length).toBe(0);
  }
  expect((await failure(client.index())).facts).toMatchObject({ code: "not_a_daemon" });
});

test("alerts and silences have routes of their own, and a silence is ended once more after a reset (L2)", async () => {
  const list = { source: "built-in", sources: [], alerts: [], left_out: 0, rules: [], silences: null };
  const { url, received } = await serve(
    (response) => response.end(JSON.stringify(list)),
    (response) => response.end(JSON.stringify({ silences: [], problem: null })),
    (response) => response.end(JSON.stringify({ silence_id: "one" })),
    reset,
    (response) => response.writeHead(204).end(),
  );
  const client = new KvsyncClient({ url, token: "secret", timeoutMs: PATIENT_MS });
  expect(await client.alerts()).toEqual(list);
  expect(await client.silences()).toEqual({ silences: [], problem: null });
  const wanted = {
    matchers: [{ name: "alertname", value: "StreamUntrusted" }],
    ends_at: "2030-01-01T00:00:00Z",
    comment: "maintenance",
  };
  expect(await client.silence(wanted)).toBe("one");
  await client.endSilence("one/two");
  expect(JSON.parse(String(received[2]?.body))).toEqual(wanted);
  expect(received.map(({ url: at }) => at.pathname)).toEqual([
    "/api/v1/alerts",
    "/api/v1/alerts/silences",
    "/api/v1/alerts/silences",
    "/api/v1/alerts/silences/one%2Ftwo",
    "/api/v1/alerts/silences/one%2Ftwo",
  ]);
  expect(received.every(({ headers }) => headers["authorization"] === "Bearer secret")).toBe(true);
});

test("a silence is made once: after a reset it is unreachable, and an answer without an id is something else", async () => {
  const silence = { matchers: [], ends_at: "", comment: "" };
  const { url, received } = await serve(reset);
  const client = new KvsyncClient({ url, timeoutMs: PATIENT_MS });
  expect((await failure(client.silence(silence))).code).toBe("unreachable");
  expect(received).toHaveLength(1);
  const other = await serve((response) => response.end("{}"));
  const asked = new KvsyncClient({ url: other.url, timeoutMs: PATIENT_MS });
  expect((await failure(asked.silence(silence))).code).toBe("not_a_daemon");
  expect((await failure(asked.alerts())).code).toBe("not_a_daemon");
});
