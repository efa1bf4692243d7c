/** A whole worker's opening and closing (W1 of engine-worker.ts), seen from outside by its ports. */
import { createServer, type Server } from "node:net";

import { expect, test } from "vitest";

import { EngineWorker } from "../src/engine-worker.ts";
import { freePort } from "../src/free-port.ts";

const ENGINE = { id: "e", model: "m", blockSize: 4, blockCount: 100 };

/** Takes a port; rejects when it is not free. */
function take(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
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

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

test("W1: a worker whose HTTP port is taken rejects, and its event port is free again", async () => {
  const taken = await take(0);
  const port = await freePort();
  const settings = { engine: ENGINE, port, replayPort: null, httpPort: portOf(taken) };
  await expect(EngineWorker.start(settings)).rejects.toMatchObject({ facts: { code: "bind_failed" } });
  await release(taken);
  await release(await take(port));
});

test("W1: a worker that has stopped leaves every port free, of each rank", async () => {
  const [port, httpPort] = [await freePort(), await freePort()];
  const settings = { engine: ENGINE, dpSize: 2, portPerRank: true, port, replayPort: null, httpPort };
  const worker = await EngineWorker.start(settings);
  const ports = worker.ranks.flatMap(({ server, httpUrl }) =>
    [server.endpoint, httpUrl].map((url) => Number(new URL(url).port)),
  );
  expect(new Set(ports).size).toBe(4);
  await worker.stop();
  for (const port of ports) await release(await take(port));
});
