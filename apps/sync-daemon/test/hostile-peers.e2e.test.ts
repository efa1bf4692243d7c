/**
 * A daemon process whose engines include peers that send what no engine sends. Bounds: memory of the
 * process, time until the healthy engine's messages are applied, and how often a peer is dialled.
 */
import { readFileSync } from "node:fs";

import { afterEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, TestEngine, until } from "./fleet.ts";
import { longFrameHeader, pour, publisherGreeting, RawPeer } from "./raw-peer.ts";

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
    // Bytes without ZMTP's signature look like ZMTP 1.0, which has no handshake that could fail.
    expect(unreachable).toContainEqual(expect.objectContaining({ pod: "hostile-1", reason: "dial_timeout" }));
    const lost = daemon.log.filter((line) => line["event"] === "engine_disconnected");
    expect(lost).toContainEqual(expect.objectContaining({ pod: "hostile-0" }));
  },
  60_000,
);
