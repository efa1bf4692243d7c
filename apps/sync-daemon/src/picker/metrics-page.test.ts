/** Fetches from servers that answer well, badly, slowly, without end, or not at all. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from "node:net";

import { afterEach, describe, expect, it, vi } from "vitest";

import { MetricsPages, PAGE_BYTES_MAX } from "./metrics-page.ts";

/** Far longer than any answer here takes. */
const PATIENCE_MS = 60_000;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function listen(server: TcpServer): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An engine, and the connections that it has seen. */
async function engine(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ address: string; connections: () => number }> {
  let connections = 0;
  const server: Server = createServer(answer).on("connection", () => (connections += 1));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: await listen(server), connections: () => connections };
}

/** A peer that is no HTTP server. */
async function peer(said: string, ends: boolean): Promise<string> {
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(said);
    if (ends) socket.end();
    cleanups.push(() => socket.destroy());
  });
  cleanups.push(() => server.close());
  return listen(server);
}

function pagesOf(where: Partial<ConstructorParameters<typeof MetricsPages>[0]> = {}): MetricsPages {
  const pages = new MetricsPages({ port: null, path: "/metrics", timeoutMs: PATIENCE_MS, ...where });
  cleanups.push(() => {
    pages.stop();
  });
  return pages;
}

/** The page as text, or why there is none. */
async function textOf(pages: MetricsPages, address: string): Promise<string> {
  return pages.get(address, String);
}

describe("a page", () => {
  it("comes whole, in pieces too, over one connection for all", async () => {
    const { address, connections } = await engine((request, response) => {
      response.write(`${request.method ?? ""} `);
      setImmediate(() =>
        response.end(`${request.url ?? ""} ${request.headers["accept-encoding"] ?? "plain"}`),
      );
    });
    const pages = pagesOf();
    for (let i = 0; i < 5; i++) expect(await textOf(pages, address)).toBe("GET /metrics plain");
    expect(connections()).toBe(1);
  });

  it("comes from the port and the path of the settings", async () => {
    const { address } = await engine((request, response) => response.end(request.url));
    const [host = "", port = ""] = address.split(":");
    const pages = pagesOf({ port: Number(port), path: "/prometheus/metrics" });
    expect(await textOf(pages, `${host}:1`)).toBe("/prometheus/metrics");
  });

  it("G1: that cannot be had has one reason", async () => {
    const pages = pagesOf();
    const nowhere = await peer("", true);
    const status = (code: number) =>
      engine((_, response) => response.writeHead(code, { location: "/" }).end("x"));
    const cases: [string, Promise<string> | string][] = [
      ["unreachable", "127.0.0.1:1"],
      ["unreachable", nowhere],
      ["unreachable", peer("SSH-2.0-OpenSSH_9.6\r\n", true)],
      ["status", status(500).then(({ address }) => address)],
      ["status", status(302).then(({ address }) => address)],
      ["cut", peer("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nvllm:num", true)],
      ["cut", peer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", false)],
    ];
    for (const [reason, address] of cases)
      expect([reason, await textOf(pages, await address)]).toEqual([reason, reason]);
  });

  it("G1: that does not come in time is given up, silent or in pieces", async () => {
    const pages = pagesOf({ timeoutMs: 50 });
    const silent = await peer("", false);
    const slow = await engine((_, response) => {
      const timer = setInterval(() => response.write("a 1\n"), 5);
      response.on("close", () => {
        clearInterval(timer);
      });
    });
    for (const address of [silent, slow.address]) expect(await textOf(pages, address)).toBe("timeout");
    // The connection that is given up does not hold the next fetch.
    expect(await textOf(pages, slow.address)).toBe("timeout");
    expect(slow.connections()).toBe(2);
  });

  it("G3: comes over another connection when its server has ended the one that was kept", async () => {
    let answers = 0;
    const requests = new WeakMap<object, number>();
    const { address, connections } = await engine((request, response) => {
      const before = requests.get(request.socket) ?? 0;
      requests.set(request.socket, before + 1);
      // An idle connection that ends while the next request is on its way.
      if (before > 0) request.socket.destroy();
      else response.end(`page ${(answers += 1)}`);
    });
    const pages = pagesOf();
    for (let i = 1; i <= 4; i++) expect(await textOf(pages, address)).toBe(`page ${i}`);
    expect(connections()).toBe(4);
    const closing = await engine((_, response) => response.setHeader("connection", "close").end("x"));
    for (let i = 0; i < 3; i++) expect(await textOf(pages, closing.address)).toBe("x");
    expect(closing.connections()).toBe(3);
  });

  it("G4: leaves no connection: not when nothing is fetched, and not when all is stopped", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    cleanups.push(() => vi.useRealTimers());
    const pages = pagesOf();
    const gone = (): Promise<void> =>
      vi.waitFor(
        () => {
          expect(pages.connectionCount).toBe(0);
        },
        { timeout: PATIENCE_MS },
      );
    const { address } = await engine((_, response) => response.end("x"));
    expect(await textOf(pages, address)).toBe("x");
    expect(pages.connectionCount).toBe(1);
    await vi.advanceTimersByTimeAsync(5000);
    vi.useRealTimers();
    await gone();
    expect(await textOf(pages, address)).toBe("x");
    const silent = textOf(pages, await peer("", false));
    expect(pages.connectionCount).toBe(2);
    pages.stop();
    expect(await silent).toBe("unreachable");
    await gone();
  });

  it("G2: that is too large is left where the bound is", async () => {
    let sent = 0;
    const { address } = await engine((_, response) => {
      const chunk = Buffer.alloc(64 * 1024, "a");
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      };
      response.on("drain", more);
      more();
    });
    expect(await textOf(pagesOf(), address)).toBe("too_large");
    // What the sockets of both sides hold comes on top.
    expect(sent).toBeLessThan(PAGE_BYTES_MAX * 4);
  });
});
