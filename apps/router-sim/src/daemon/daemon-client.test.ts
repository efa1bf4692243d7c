/**
 * The client against a real HTTP server that sends prepared answers, good and bad ones. The
 * transport is real, the answers are not the daemon's. The daemon's own answers are in
 * test/replay.e2e.test.ts.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { DaemonClient, LOOKUP_TIMEOUT_MS } from "./daemon-client.ts";

const MATCH = {
  decision: "degraded",
  matches: [
    { worker: "a", dp_rank: 0, matched_blocks: 4, matched_tokens: 64, trust: "exact" },
    { worker: "b", dp_rank: 0, matched_blocks: 1, matched_tokens: 16, trust: "partial" },
  ],
};

let server: Server;
let client: DaemonClient;
let answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

/** No answer of the server above takes this long, however busy the machine is. */
const PATIENCE_MS = 30_000;

function clientWith(lookupTimeoutMs?: number): DaemonClient {
  const { port } = server.address() as AddressInfo;
  return new DaemonClient(`http://127.0.0.1:${port}`, lookupTimeoutMs);
}

beforeEach(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      answer(request, response, Buffer.concat(chunks));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  client = clientWith(PATIENCE_MS);
});

afterEach(() => {
  client.close();
  server.closeAllConnections();
  server.close();
});

function json(value: unknown, status = 200): void {
  answer = (_request, response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  };
}

const TOKENS = Uint32Array.of(1, 70_000, 3).subarray(1);

describe("a lookup", () => {
  it("sends the tokens as they lie in memory, with model and block size, and returns the advice", async () => {
    let seen: { url: string | undefined; body: Buffer } | undefined;
    answer = ({ url }, response, body) => {
      seen = { url, body };
      response.end(JSON.stringify(MATCH));
    };
    const outcome = await client.match("m/x", 16, TOKENS);
    expect(seen?.url).toBe("/api/v1/match?input=token_ids&model=m%2Fx&block_size=16");
    expect([...new Uint32Array(Uint8Array.from(seen!.body).buffer)]).toEqual([70_000, 3]);
    expect(outcome).toMatchObject({
      kind: "advice",
      advice: {
        decision: "degraded",
        matches: [
          { worker: "a", matchedTokens: 64, trust: "exact" },
          { worker: "b", matchedTokens: 16, trust: "partial" },
        ],
      },
    });
  });

  it("fails as an outcome, not by throwing, and says why", async () => {
    json({ code: "unknown_model" }, 404);
    expect(await client.match("m", 16, TOKENS)).toMatchObject({
      kind: "failed",
      reason: "refused",
      detail: expect.stringContaining("unknown_model") as string,
    });
    json({ decision: "exact" });
    expect(await client.match("m", 16, TOKENS)).toMatchObject({ kind: "failed", reason: "malformed" });
    json({ ...MATCH, decision: "perhaps" });
    expect(await client.match("m", 16, TOKENS)).toMatchObject({ kind: "failed", reason: "malformed" });
    answer = (_request, response) => response.end("<html>");
    expect(await client.match("m", 16, TOKENS)).toMatchObject({ kind: "failed", reason: "malformed" });
    answer = (request) => request.socket.destroy();
    expect(await client.match("m", 16, TOKENS)).toMatchObject({ kind: "failed", reason: "unreachable" });
  });

  it("gives up at its deadline when the daemon is frozen, also in the middle of an answer", async () => {
    client.close();
    client = clientWith();
    answer = () => undefined;
    const beganMs = performance.now();
    expect(await client.match("m", 16, TOKENS)).toMatchObject({ kind: "failed", reason: "timed_out" });
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(LOOKUP_TIMEOUT_MS - 1);
    answer = (_request, response) => {
      response.write("{");
    };
    expect(await client.match("m", 16, TOKENS)).toMatchObject({ kind: "failed", reason: "timed_out" });
  });
});

describe("the pages of an audit", () => {
  it("are refused with the address and what was expected", async () => {
    json({ engines: [{ id: "a", ranks: [{ dp_rank: "0" }] }] });
    await expect(client.engines()).rejects.toMatchObject({
      code: "daemon_answer_malformed",
      message: expect.stringContaining("dp_rank") as string,
    });
    json({ code: "unknown_model" }, 404);
    await expect(client.dump("m")).rejects.toMatchObject({ facts: { code: "daemon_refused", status: 404 } });
  });

  it("tell readiness by status, and a daemon that is away is not ready", async () => {
    json({}, 200);
    expect(await client.isReady()).toBe(true);
    json({}, 503);
    expect(await client.isReady()).toBe(false);
    server.closeAllConnections();
    server.close();
    await once(server, "close");
    expect(await client.isReady()).toBe(false);
  });
});
