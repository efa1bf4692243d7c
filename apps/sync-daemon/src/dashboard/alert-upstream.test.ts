/** Questions to Prometheus and Alertmanager, with servers on loopback that misbehave. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { AlertUpstream, type UpstreamAccess } from "./alert-upstream.ts";

const OPEN: UpstreamAccess = { bearer_token_file: null, ca_file: null };
const ID = "0b6a2c5e-1111-4222-8333-123456789abc";

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function upstreamAt(url: string, access: UpstreamAccess = OPEN): AlertUpstream {
  const upstream = new AlertUpstream(url, access);
  onTestFinished(() => upstream.close());
  return upstream;
}

test("U1: four fixed paths are asked, behind the path of the base URL", async () => {
  const asked: string[] = [];
  const url = await serve((request, response) => {
    asked.push(`${request.method ?? ""} ${request.url ?? ""}`);
    response.end("[]");
  });
  const upstream = upstreamAt(`${url}/monitoring/`);
  await upstream.get("rules");
  await upstream.get("alerts");
  await upstream.get("silences");
  await upstream.silence({});
  await upstream.expire(ID);
  expect(asked).toEqual([
    "GET /monitoring/api/v1/rules?type=alert",
    "GET /monitoring/api/v2/alerts",
    "GET /monitoring/api/v2/silences",
    "POST /monitoring/api/v2/silences",
    `DELETE /monitoring/api/v2/silence/${ID}`,
  ]);
  expect(() => upstream.expire("../../-/quit")).toThrow(RangeError);
  expect(asked).toHaveLength(5);
});

test("U2: a server that does not end its answer costs two seconds", async () => {
  const url = await serve((_, response) => {
    response.write("[");
  });
  const began = performance.now();
  expect(await upstreamAt(url).get("alerts")).toEqual({ kind: "failed", problem: "no answer within 2 s" });
  expect(performance.now() - began).toBeLessThan(10_000);
});

test("U2: an answer of more than 4 MiB is given up", async () => {
  const url = await serve((_, response) => {
    response.end(Buffer.alloc(4 * 1024 * 1024 + 1, " "));
  });
  expect(await upstreamAt(url).get("alerts")).toEqual({
    kind: "failed",
    problem: "the answer has more than 4194304 bytes",
  });
});

test("U3: a redirection is not followed", async () => {
  let elsewhere = 0;
  const other = await serve((_, response) => {
    elsewhere += 1;
    response.end("[]");
  });
  const url = await serve((_, response) => {
    response.writeHead(302, { location: `${other}/api/v2/alerts` }).end();
  });
  expect(await upstreamAt(url).get("alerts")).toMatchObject({ kind: "answered", status: 302 });
  expect(elsewhere).toBe(0);
});

test("U4: the token is read at each request, and sent as a header alone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-upstream-"));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const file = join(folder, "token");
  const seen: (string | undefined)[] = [];
  const url = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.end(request.url);
  });
  const upstream = upstreamAt(url, { bearer_token_file: file, ca_file: null });
  expect(await upstream.get("alerts")).toEqual({
    kind: "failed",
    problem: `the file ${file} cannot be read (ENOENT)`,
  });
  for (const token of ["one-secret", "two-secret"]) {
    writeFileSync(file, `${token}\n`);
    expect(JSON.stringify(await upstream.get("alerts"))).not.toContain("secret");
  }
  expect(seen).toEqual(["Bearer one-secret", "Bearer two-secret"]);
});

test("a server that is not there, and a name without address, are said in words", async () => {
  expect(await upstreamAt("http://127.0.0.1:1").get("alerts")).toEqual({
    kind: "failed",
    problem: "the connection was refused",
  });
  expect(await upstreamAt("http://nowhere.invalid").get("alerts")).toMatchObject({ kind: "failed" });
});
