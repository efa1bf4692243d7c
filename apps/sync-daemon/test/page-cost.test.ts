/**
 * The cost of the web page for the daemon with 1,000 ranks that all change each second. It is CPU time of the main thread without
 * viewers and with ten, and the memory of a viewer. Memory of rings is measured in a process of its own (page-rings.test.ts).
 *
 * A share is CPU time of the thread over the time between two turns of the work. The cheapest quarter of the rounds counts, since
 * a busy machine only adds to them. Viewers are sockets of another thread.
 */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Worker } from "node:worker_threads";

import { Exposition } from "@kvsync/observability/exposition";
import { builtInRules } from "@kvsync/observability/kvsync/built-in-rules";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, expect, test } from "vitest";

import { LookupTally } from "../src/query/lookup-tally.ts";
import { BuiltInAlerts } from "../src/dashboard/built-in-alerts.ts";
import { DeltaEncoder } from "../src/dashboard/delta-encoder.ts";
import { happeningsBetween } from "../src/dashboard/happenings.ts";
import { LiveStream } from "../src/dashboard/live-stream.ts";
import { RankMinutes } from "../src/dashboard/rank-minutes.ts";
import { Sampler } from "../src/dashboard/sampler.ts";
import { BoardFleet } from "../src/dashboard/testing/board-fleet.ts";
import { cpuMs, heldBytes, quartile } from "../src/dashboard/testing/cost.ts";
import { rankMetrics } from "../src/dashboard/testing/rank-metrics.ts";

const RANKS = 1000;
const ROUNDS = 40;
const VIEWERS_MAX = 10;
const VIEWER_BYTES_MAX = 512 * 1024;
const SAMPLE_MS = 5000;
const BEAT_MS = 1000;
const MINUTE_MS = 60_000;
/** Beyond it a viewer gets nothing more. */
const UNSENT_BYTES = 256 * 1024;

/** Opens viewers of a stream that read it, or never do; answers when each has got its first bytes. */
const VIEWERS = `
  const { workerData: { port, count, reads }, parentPort } = require("node:worker_threads");
  const { connect } = require("node:net");
  let waiting = count;
  // Sockets that are not read keep no thread alive.
  setInterval(() => undefined, 60_000);
  for (let i = 0; i < count; i++) {
    const socket = connect(port, "127.0.0.1");
    socket.write("GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n");
    socket.once("data", () => {
      if (!reads) socket.pause();
      else socket.on("data", () => undefined);
      if (--waiting === 0) parentPort.postMessage("open");
    });
  }
`;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A fleet in which every rank has new messages after each `change`. */
function changingFleet(ranks: number): { readonly fleet: BoardFleet; readonly change: () => void } {
  const fleet = new BoardFleet();
  const slots = Array.from({ length: ranks }, (_, i) => fleet.add(`vllm-${i}`, `model-${i % 8}`));
  let step = 0;
  return {
    fleet,
    change: () => {
      step += 1;
      for (const slot of slots) {
        fleet.blocks.set(slot, (slot * 7919 + step * 12) % 9973);
        // Rates are measured with each sample.
        fleet.rates.set(slot, ((slot + Math.floor(step / (SAMPLE_MS / BEAT_MS))) % 97) + 0.5);
        fleet.tell(slot, { sequenceNumber: step * 3, stored: step * 30 });
      }
    },
  };
}

function streamOf(fleet: BoardFleet, viewersMax: number): LiveStream {
  const { registry, board } = fleet;
  const none = {};
  const stream = new LiveStream({
    encoder: new DeltaEncoder(
      fleet,
      () => "file",
      () => fleet.nowMs,
    ),
    hello: () => ({}),
    totals: () => ({}),
    health: () => ({}),
    alerts: { watch: () => undefined, present: () => none },
    happenings: (after, until) => happeningsBetween({ registry, history: board.history }, after, until),
    now: () => fleet.nowMs,
    metrics: new MetricSlots(CATALOGUE, "test", () => undefined),
    viewersMax,
  });
  ends.push(() => {
    stream.stop();
  });
  return stream;
}

/** Serves a stream as HTTP does, to viewers in another thread. */
async function served(stream: LiveStream): Promise<{
  readonly open: (count: number, reads: boolean) => Promise<void>;
  /** Of the viewer that is furthest behind. */
  readonly unsentBytes: () => number;
}> {
  const answers = new Set<ServerResponse>();
  const server: Server = createServer((_request, raw: ServerResponse) => {
    const leave = stream.watch({
      get writableLength() {
        return raw.writableLength;
      },
      write: (bytes) => raw.write(bytes),
      end: () => raw.end(),
    });
    answers.add(raw);
    raw.once("close", () => {
      answers.delete(raw);
      leave();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    unsentBytes: () => Math.max(...[...answers].map(({ writableLength }) => writableLength)),
    open: async (count, reads) => {
      const { port } = server.address() as AddressInfo;
      const viewers = new Worker(VIEWERS, { eval: true, workerData: { port, count, reads } });
      ends.push(() => viewers.terminate());
      await once(viewers, "message");
    },
  };
}

/** The next turn of the loop, in which sockets send. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a viewer costs at most 512 KiB: one that reads in live objects, one that never does in unsent bytes", async () => {
  const { fleet, change } = changingFleet(RANKS);
  const stream = streamOf(fleet, VIEWERS_MAX);
  change();
  const { open, unsentBytes } = await served(stream);
  await open(1, true);
  let unsent = 0;
  const beat = async (): Promise<void> => {
    fleet.nowMs += BEAT_MS;
    change();
    stream.beat();
    unsent = Math.max(unsent, unsentBytes());
    await turn();
  };
  const held = async (): Promise<number> => {
    for (let i = 0; i < ROUNDS; i++) await beat();
    return heldBytes();
  };
  const before = await held();
  await open(VIEWERS_MAX - 2, true);
  const each = ((await held()) - before) / (VIEWERS_MAX - 2);
  expect(each).toBeLessThan(VIEWER_BYTES_MAX);
  await open(1, false);
  // The system's buffers take some megabytes first.
  while (unsentBytes() < UNSENT_BYTES) await beat();
  await held();
  console.log(`a viewer: ${Math.round(each / 1024)} KiB, unsent at most ${Math.round(unsent / 1024)} KiB`);
  expect(stream.viewers).toBe(VIEWERS_MAX);
  expect(unsent).toBeLessThan(VIEWER_BYTES_MAX);
});

test("without a viewer, samples and alerts take at most a thousandth of a core", async () => {
  const { fleet, change } = changingFleet(RANKS);
  const sampler = new Sampler(fleet, new LookupTally(() => true), 3600);
  const minutes = new RankMinutes(fleet);
  const exposition = new Exposition(CATALOGUE);
  const rules = builtInRules();
  const grow = rankMetrics(
    new MetricSlots(CATALOGUE, "ranks", (announcement) => {
      exposition.accept(announcement);
    }),
    RANKS,
  );
  const alerts = new BuiltInAlerts({ rules, exposition, instance: "here:1", now: () => fleet.nowMs });
  const [samples, marks, evaluations] = [[] as number[], [] as number[], [] as number[]];
  for (let i = 0; i < ROUNDS; i++) {
    fleet.nowMs += MINUTE_MS;
    change();
    grow();
    samples.push(
      await cpuMs(() => {
        sampler.sample(fleet.nowMs);
      }),
    );
    marks.push(
      await cpuMs(() => {
        minutes.sample(fleet.nowMs);
      }),
    );
    evaluations.push(await cpuMs(() => alerts.sample()));
  }
  const share =
    quartile(samples) / SAMPLE_MS +
    quartile(marks) / MINUTE_MS +
    quartile(evaluations) / (rules.intervalSeconds * 1000);
  console.log(`without viewers: ${(share * 100).toFixed(3)} % of a core`);
  expect(share).toBeLessThan(0.001);
});

test("ten viewers take at most a hundredth of a core: a lookup in a hundred may wait for them, which leaves its p99", async () => {
  const { fleet, change } = changingFleet(RANKS);
  const stream = streamOf(fleet, 10);
  change();
  await (await served(stream)).open(10, true);
  const beats: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    fleet.nowMs += BEAT_MS;
    change();
    beats.push(
      await cpuMs(async () => {
        stream.beat();
        await turn();
      }),
    );
  }
  const share = quartile(beats) / BEAT_MS;
  console.log(`ten viewers: ${(share * 100).toFixed(3)} % of a core`);
  expect(share).toBeLessThan(0.01);
});
