/** The connection against streams of bytes that the test writes, on a clock that the test moves. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Connection, type ConnectionState, PAUSES_MS, SILENCE_MS } from "./connection.ts";
import type { StreamMessage } from "./stream-messages.ts";

const SNAPSHOT = { n: 1, at: 0, columns: [], models: [], states: [], trusts: [], rows: [] };

/** One opened stream. */
interface Opened {
  send(event: string, body: unknown): void;
  raw(text: string): void;
  end(): void;
  readonly signal: AbortSignal;
}

/** A server that the test answers for. */
class Server {
  readonly opened: Opened[] = [];
  readonly states: ConnectionState[] = [];
  readonly messages: StreamMessage[] = [];
  respond: (() => Response) | null = null;
  isFollowing = true;
  readonly connection = new Connection({
    open: (signal) => this.#open(signal),
    onMessage: (message) => {
      this.messages.push(message);
      return this.isFollowing;
    },
    onState: (state) => {
      this.states.push(state);
    },
    random: () => 1,
  });

  get state(): ConnectionState | undefined {
    return this.states.at(-1);
  }

  get openNow(): number {
    return this.opened.filter(({ signal }) => !signal.aborted).length;
  }

  #open(signal: AbortSignal): Promise<Response> {
    if (this.respond !== null) return Promise.resolve(this.respond());
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const raw = (text: string): void => {
          controller.enqueue(new TextEncoder().encode(text));
        };
        this.opened.push({
          raw,
          send: (event, data) => {
            raw(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
          },
          end: () => {
            controller.close();
          },
          signal,
        });
      },
    });
    return Promise.resolve(new Response(body));
  }
}

const settled = () => vi.advanceTimersByTimeAsync(0);

async function liveServer(): Promise<Server> {
  const server = new Server();
  server.connection.start();
  await settled();
  server.opened[0]?.send("snapshot", SNAPSHOT);
  await settled();
  expect(server.state).toEqual({ kind: "live" });
  return server;
}

describe("the connection", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.clearAllTimers();
    vi.useRealTimers();
  });

  it("is live with the first snapshot, and waits when the stream ends", async () => {
    const server = await liveServer();
    const lostAt = Date.now();
    server.opened[0]?.end();
    await settled();
    expect(server.state).toEqual({
      kind: "waiting",
      lostAt,
      retryAt: lostAt + PAUSES_MS[0],
      reason: "ended",
      status: null,
    });
    await vi.advanceTimersByTimeAsync(PAUSES_MS[0]);
    expect(server.opened).toHaveLength(2);
    expect(server.state).toEqual({ kind: "connecting", lostAt });
  });

  it("has one request at most, and none while paused, hidden or refused (K1)", async () => {
    const server = await liveServer();
    server.connection.start();
    server.connection.start();
    await settled();
    expect(server.openNow).toBe(1);
    for (const kind of ["paused", "hidden"] as const) {
      server.connection.pause(kind);
      await vi.advanceTimersByTimeAsync(10 * SILENCE_MS);
      expect(server.openNow).toBe(0);
      expect(server.state).toEqual({ kind });
      server.connection.start();
      await settled();
    }
    for (const status of [401, 403] as const) {
      server.respond = () => new Response(null, { status });
      server.connection.start();
      await vi.advanceTimersByTimeAsync(10 * SILENCE_MS);
      expect(server.state).toEqual({ kind: "refused", status });
      expect(server.openNow).toBe(0);
      server.respond = null;
      server.connection.start();
      await settled();
    }
  });

  it("ends on a message that it cannot read, on a missing one, and on silence (K2)", async () => {
    const unreadable = await liveServer();
    unreadable.opened[0]?.raw("event: delta\ndata: {\n\n");
    await settled();
    expect(unreadable.state).toMatchObject({ kind: "waiting", reason: "unreadable_message" });

    const missing = await liveServer();
    missing.isFollowing = false;
    missing.opened[0]?.send("delta", { n: 7, at: 0 });
    await settled();
    expect(missing.state).toMatchObject({ kind: "waiting", reason: "missing_message" });

    const silent = await liveServer();
    await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
    silent.opened[0]?.raw(": keep-alive\n\n");
    await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
    expect(silent.state).toEqual({ kind: "live" });
    await vi.advanceTimersByTimeAsync(1);
    expect(silent.state).toMatchObject({ kind: "waiting", reason: "silent" });
    expect(silent.openNow).toBe(0);
  });

  it("ends a wait at once when the network returns or the tab is shown (K3)", async () => {
    const server = await liveServer();
    server.connection.offline();
    expect(server.state).toMatchObject({ kind: "waiting", reason: "offline" });
    server.connection.wake();
    await settled();
    expect(server.opened).toHaveLength(2);
    server.connection.pause("hidden");
    server.connection.wake();
    await settled();
    expect(server.opened).toHaveLength(3);
    server.connection.pause("paused");
    server.connection.wake();
    await settled();
    expect(server.opened).toHaveLength(3);
  });

  it("waits longer with each failure, up to 15 s, and from 1 s again after a snapshot (K4)", async () => {
    const server = new Server();
    server.respond = () => new Response(null, { status: 502 });
    server.connection.start();
    for (const pause of [...PAUSES_MS, 15_000, 15_000]) {
      await settled();
      expect(server.state).toMatchObject({ kind: "waiting", retryAt: Date.now() + pause, status: 502 });
      await vi.advanceTimersByTimeAsync(pause);
    }
    server.respond = null;
    await vi.advanceTimersByTimeAsync(15_000);
    server.opened.at(-1)?.send("snapshot", SNAPSHOT);
    await settled();
    server.opened.at(-1)?.end();
    await settled();
    expect(server.state).toMatchObject({ retryAt: Date.now() + PAUSES_MS[0] });
  });

  it("connects again at once when the daemon replaces a stream, and is not lost meanwhile (K5)", async () => {
    const server = await liveServer();
    const before = server.states.length;
    server.opened[0]?.send("bye", { reason: "replaced", retry_ms: 0 });
    await settled();
    server.opened[1]?.send("snapshot", SNAPSHOT);
    await settled();
    expect(server.states.slice(before)).toEqual([{ kind: "connecting", lostAt: null }, { kind: "live" }]);
    // Replaced again before a snapshot: that is a loss.
    server.opened[1]?.send("bye", { reason: "replaced", retry_ms: 0 });
    await settled();
    server.opened[2]?.send("bye", { reason: "replaced", retry_ms: 0 });
    await settled();
    expect(server.state).toMatchObject({ kind: "waiting", reason: "replaced" });
  });

  it("waits as long as the daemon asks, and names why", async () => {
    const server = await liveServer();
    server.opened[0]?.send("bye", { reason: "stopping", retry_ms: 3000 });
    await settled();
    expect(server.state).toMatchObject({ reason: "stopping", retryAt: Date.now() + 3000 });
    server.respond = () => new Response(null, { status: 503, headers: { "retry-after": "9" } });
    await vi.advanceTimersByTimeAsync(3000);
    expect(server.state).toMatchObject({
      reason: "too_many_viewers",
      retryAt: Date.now() + 9000,
      status: 503,
    });
    server.respond = () => new Response(null, { status: 404 });
    await vi.advanceTimersByTimeAsync(9000);
    expect(server.state).toMatchObject({ reason: "no_route", status: 404 });
  });
});
