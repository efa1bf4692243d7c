/**
 * A daemon process whose engines include peers that send what no engine sends. Bounds: memory of
 * the process, time until the healthy engine's messages are applied, and how often the daemon
 * connects to a peer.
 */
import { readFileSync } from "node:fs";

import { afterEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, TestEngine, until } from "./fleet.ts";
import { longFrameHeader, peerGreeting, pour, publisherGreeting, RawPeer } from "./raw-peer.ts";

const MIB = 1024 * 1024;
const MESSAGE_BYTES = 4 * MIB;
const PEERS = 6;

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** Resident bytes of a process. */
function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return pages * 4096;
}

test.skipIf(process.platform !== "linux")(
  "frames without bounds, garbage and bytes that drip cost bounded memory, and other engines nothing (Linux only)",
  async () => {
    const healthy = await TestEngine.start({ id: "healthy" }, 1);
    cleanUp.push(() => healthy.stop());
    const huge = await RawPeer.start((socket) => {
      socket.write(publisherGreeting());
      socket.write(longFrameHeader(2 ** 40, false));
      pour(socket, Buffer.alloc(65_536));
    });
    const garbage = await RawPeer.start((socket) => {
      pour(socket, Buffer.alloc(65_536, "HTTP/1.1 200 OK\r\n"));
    });
    // Each announces the longest frame that is allowed and sends a byte of it now and then.
    const dripping = await Promise.all(
      Array.from({ length: PEERS }, () =>
        RawPeer.start((socket) => {
          socket.write(publisherGreeting());
          socket.write(longFrameHeader(2 * MESSAGE_BYTES, true));
          const timer = setInterval(() => socket.write("."), 20);
          socket.on("close", () => {
            clearInterval(timer);
          });
        }),
      ),
    );
    const peers = [huge, garbage, ...dripping];
    cleanUp.push(() => {
      for (const peer of peers) peer.stop();
    });
    const hostile = peers.map(({ endpoint }, i) => ({ id: `hostile-${i}`, model: "test/model", endpoint }));
    const daemon = await DaemonProcess.start({
      engines: [healthy.entry, ...hostile],
      limits: { message_bytes: MESSAGE_BYTES },
      ingest: { reconnect_ms_min: 20, reconnect_ms_max: 1000 },
    });
    cleanUp.push(() => daemon.end("SIGKILL"));
    await healthy.serve(4);
    await caughtUp(daemon, [healthy]);
    const beforeBytes = residentBytes(daemon.pid);
    await until("both are dialled again", () =>
      Promise.resolve(huge.acceptedMs.length >= 10 && garbage.acceptedMs.length >= 2),
    );
    await healthy.serve(10);
    await caughtUp(daemon, [healthy]);
    expect(await audit(daemon, [healthy])).toEqual([]);
    const grownBytes = residentBytes(daemon.pid) - beforeBytes;
    expect(grownBytes).toBeLessThan((PEERS + 2) * 2 * MESSAGE_BYTES + 64 * MIB);
    // Waits have grown to half the longest one at least, although the handshake succeeds each time.
    const gaps = huge.acceptedMs.slice(7, 10).map((ms, i) => ms - (huge.acceptedMs[i + 6] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThan(400);
    expect(dripping.map(({ connections }) => connections)).toEqual(dripping.map(() => 1));
    const unreachable = daemon.log.filter((line) => line["event"] === "engine_unreachable");
    expect(unreachable).toContainEqual(expect.objectContaining({ pod: "hostile-1", reason: "not_zmtp" }));
    const lost = daemon.log.filter((line) => line["event"] === "engine_disconnected");
    expect(lost).toContainEqual(expect.objectContaining({ pod: "hostile-0", reason: "message_too_long" }));
  },
  60_000,
);

test.skipIf(process.platform !== "linux")(
  "messages without end, at event and replay sockets, end their connections by name, and cost bounded memory (Linux only)",
  async () => {
    const healthy = await TestEngine.start({ id: "healthy" }, 1);
    cleanUp.push(() => healthy.stop());
    const endless = {
      parts: Buffer.alloc(65_536, Buffer.from([1, 0])),
      bytes: Buffer.concat([longFrameHeader(MIB, true), Buffer.alloc(MIB)]),
    };
    const peer = async (type: string, chunk: Buffer | null): Promise<RawPeer> => {
      const one = await RawPeer.start((socket) => {
        socket.write(peerGreeting(type));
        if (chunk !== null) pour(socket, chunk);
      });
      cleanUp.push(() => {
        one.stop();
      });
      return one;
    };
    const model = "test/model";
    const parts = await peer("PUB", endless.parts);
    const bytes = await peer("PUB", endless.bytes);
    const quiet = await peer("PUB", null);
    const replay = await peer("ROUTER", endless.bytes);
    const daemon = await DaemonProcess.start({
      engines: [
        healthy.entry,
        { id: "parts", model, endpoint: parts.endpoint },
        { id: "bytes", model, endpoint: bytes.endpoint },
        { id: "replay", model, endpoint: quiet.endpoint, replay_endpoint: replay.endpoint },
      ],
      limits: { message_bytes: MESSAGE_BYTES },
      ingest: { reconnect_ms_min: 20, reconnect_ms_max: 1000 },
    });
    cleanUp.push(() => daemon.end("SIGKILL"));
    await healthy.serve(4);
    await caughtUp(daemon, [healthy]);
    const beforeBytes = residentBytes(daemon.pid);
    await until("all have been ended and dialled again and again", () =>
      Promise.resolve(
        [parts, bytes].every(({ acceptedMs }) => acceptedMs.length >= 8) && replay.acceptedMs.length >= 3,
      ),
    );
    await healthy.serve(10);
    await caughtUp(daemon, [healthy]);
    expect(await audit(daemon, [healthy])).toEqual([]);
    expect(residentBytes(daemon.pid) - beforeBytes).toBeLessThan(3 * 4 * MESSAGE_BYTES + 96 * MIB);
    const gaps = bytes.acceptedMs.slice(6, 8).map((ms, i) => ms - (bytes.acceptedMs[i + 5] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThan(400);
    const reported = daemon.log.filter(({ event }) =>
      ["engine_disconnected", "replay_violation"].includes(String(event)),
    );
    for (const [pod, reason] of [
      ["parts", "too_many_parts"],
      ["bytes", "message_too_long"],
      ["replay", "message_too_long"],
    ])
      expect(reported).toContainEqual(expect.objectContaining({ pod, reason }));
    const metrics = await (await daemon.fetch("/metrics")).text();
    for (const labels of [
      'pod="parts",model="test/model",socket="events",reason="too_many_parts"',
      'pod="bytes",model="test/model",socket="events",reason="message_too_long"',
      'pod="replay",model="test/model",socket="replay",reason="message_too_long"',
    ])
      expect(metrics).toMatch(new RegExp(`kv_zmq_protocol_violations_total\\{${labels}\\} [1-9]`));
  },
  60_000,
);
