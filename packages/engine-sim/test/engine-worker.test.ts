/**
 * A whole worker's opening and closing (W1 of engine-worker.ts), seen from outside by its ports.
 *
 * The ports are on a loopback address of this process's own, and below those that the system gives to other processes
 * (32,768 on Linux). So what these tests find taken or free is the worker's doing.
 */
import { createServer, type Server } from "node:net";

import { expect, test } from "vitest";

import { EngineWorker } from "../src/engine-worker.ts";

const ENGINE = { id: "e", model: "m", blockSize: 4, blockCount: 100 };

/** 127.64.0.0 to 127.127.255.255, by the process id. */
const HOST = [127, 64 + ((process.pid >>> 16) % 64), (process.pid >>> 8) % 256, process.pid % 256].join(".");
const PORTS = { events: 21_000, http: 22_000 };

/** Takes a port; rejects when it is not free. */
function take(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, HOST, () => {
      resolve(server);
    });
  });
}

function release(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}

test("W1: a worker whose HTTP port is taken rejects, and its event port is free again", async () => {
  const taken = await take(PORTS.http);
  const settings = {
    engine: ENGINE,
    host: HOST,
    port: PORTS.events,
    replayPort: null,
    httpPort: PORTS.http,
  };
  await expect(EngineWorker.start(settings)).rejects.toMatchObject({ facts: { code: "bind_failed" } });
  await release(taken);
  await release(await take(PORTS.events));
});

test("W1: a worker that has stopped leaves every port free, of each rank", async () => {
  const worker = await EngineWorker.start({
    engine: ENGINE,
    host: HOST,
    dpSize: 2,
    portPerRank: true,
    port: PORTS.events,
    httpPort: PORTS.http,
    replayPort: null,
  });
  const ports = worker.ranks.flatMap(({ server, httpUrl }) =>
    [server.endpoint, httpUrl].map((url) => Number(new URL(url).port)),
  );
  expect(ports).toEqual([21_000, 22_000, 21_001, 22_001]);
  await expect(take(PORTS.events)).rejects.toMatchObject({ code: "EADDRINUSE" });
  await worker.stop();
  for (const port of ports) await release(await take(port));
});
