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

async function drive(maxQueueSize?: number, maxSequences = 1) {
  const engine = new SimulatedEngine({
    id: "e",
    model: "m",
    blockSize: 4,
    blockCount: 1000,
    maxSequences,
  });
  const server = await EngineServer.start({ engine, maxQueueSize });
  open.push(server);
  const driver = new EngineDriver(engine, 1e6);
  return { engine, server, driver, running: driver.run(server) };
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

test("a request whose signal is given ends at once, holds nothing, and leaves the others alone (T2)", async () => {
  const { engine, driver, running } = await drive(undefined, 2);
  const [left, stayed] = [new AbortController(), new AbortController()];
  const counts: number[] = [];
  const leaving = driver.submit(request(1, 3000), {
    signal: left.signal,
    onTokens: (count) => {
      counts.push(count);
      if (count === 5) left.abort();
    },
  });
  const staying = driver.submit(request(2, 20), { signal: stayed.signal });
  const waiting = driver.submit(request(3, 20), { signal: left.signal });
  await Promise.all([
    expect(leaving).rejects.toMatchObject({ code: "request_aborted" }),
    expect(waiting).rejects.toMatchObject({ code: "request_aborted" }),
  ]);
  const { running: runningCount, waiting: waitingCount } = engine.pressure();
  expect(runningCount + waitingCount).toBeLessThanOrEqual(1);
  expect(await staying).toMatchObject({ outputTokens: 20 });
  expect(counts).toEqual([1, 2, 3, 4, 5]);
  stayed.abort();
  expect(engine.pressure()).toMatchObject({ running: 0, waiting: 0, freeBlocks: 1000 });
  expect(engine.counters).toMatchObject({ requestsAborted: 2, requestsFinished: 1 });
  expect(driver.tally).toMatchObject({ aborted: 2, limited: 1, stopped: 0 });
  expect(() => driver.submit(request(4), { signal: left.signal })).toThrow("aborted");
  driver.stop();
  await running;
});

test("tokens are reported as they come, in growing counts up to the last, and none after the end (T3)", async () => {
  const { driver, running } = await drive();
  const counts: number[] = [];
  let ended = false;
  const finished = await driver.submit(
    { ...request(1, 50), endsItself: true },
    {
      onTokens: (count) => {
        expect(ended).toBe(false);
        counts.push(count);
      },
    },
  );
  ended = true;
  expect(finished.outputTokens).toBe(50);
  expect(counts).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  await driver.submit(request(2, 5));
  expect(driver.tally).toMatchObject({ stopped: 1, limited: 1 });
  expect(driver.tally.firstTokenSeconds.counts.reduce((sum, count) => sum + count)).toBe(2);
  driver.stop();
  await running;
});
