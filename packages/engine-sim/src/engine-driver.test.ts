/** The driver over a real engine and a real server, a thousand times as fast as the model. */
import { afterEach, expect, test } from "vitest";

import { type DrivenRequest, EngineDriver } from "./engine-driver.ts";
import { EngineServer } from "./engine-server.ts";
import { BACKLOG_BATCHES } from "./publisher.ts";
import { SimulatedEngine } from "./simulated-engine.ts";

const COUNT = BACKLOG_BATCHES + 100;

const open: EngineServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.stop()));
});

async function drive(maxQueueSize?: number) {
  const engine = new SimulatedEngine({
    id: "e",
    model: "m",
    blockSize: 4,
    blockCount: 1000,
    maxSequences: 1,
  });
  const server = await EngineServer.start({ engine, maxQueueSize });
  open.push(server);
  const driver = new EngineDriver(engine, 1e6);
  return { server, driver, running: driver.run(server) };
}

function request(first: number, count = 1): DrivenRequest {
  return { promptTokens: Uint32Array.of(first, 1, 2, 3), output: { count, seed: 1 } };
}

test("no step is made while the publisher is backlogged: its queue never overflows, and every batch is sent (T1)", async () => {
  const { server, driver, running } = await drive(BACKLOG_BATCHES);
  await server.applyFault({ kind: "hold", seconds: 0.2 }, 0);
  const requests = Array.from({ length: COUNT }, (_, i) => driver.submit(request(i)));
  expect(await Promise.all(requests)).toHaveLength(COUNT);
  await server.drained();
  expect(server.counters.published).toBe(COUNT);
  driver.stop();
  await running;
});

test("every request ends in its promise, by its last token, a restart or the end (T2)", async () => {
  const { server, driver, running } = await drive();
  expect(await driver.submit(request(1, 3))).toMatchObject({ outputTokens: 3 });
  const [lost, waiting] = [driver.submit(request(2, 3000)), driver.submit(request(3))];
  const outcomes = Promise.allSettled([lost, waiting]);
  driver.abort(await server.restart(0));
  expect(await outcomes).toMatchObject([0, 1].map(() => ({ reason: { code: "request_aborted" } })));
  const last = driver.submit(request(4, 3000));
  driver.stop();
  await Promise.all([running, expect(last).rejects.toMatchObject({ code: "request_aborted" })]);
});
