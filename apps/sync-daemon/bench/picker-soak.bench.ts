/**
 * Whether the picker stays as it is under load: 100,000 requests over one connection, then none. A daemon process picks. This
 * process speaks ext_proc to it without Envoy: with Envoy and engines two cores do not carry a thousand requests a second.
 *
 *     node apps/sync-daemon/bench/picker-soak.bench.ts [requests=100000] [clients=64]
 *
 * Of 50 requests one ends by the gateway's reset, one by a client that leaves after the pick, and the others by the picker's status.
 * With more resets this process's own nghttp2 ends the connection: it takes answers that cross a reset for a fault. Half as many come before them, uncounted. Ends with 1 when a request failed or stays booked, or when the last third took more than 20 MiB. Needs Linux.
 */
import { argv } from "node:process";

import { Prng } from "@kvsync/core";

import { type Ending, framesOf, LoadClient, ready, sendAll } from "../src/picker/testing/load-client.ts";
import { machine, MODEL, PickerDaemon } from "./picker-process.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const SEED = 20_261_130;
const ENGINES = 16;
const PARTS = 12;
const GROWTH_MIB_MAX = 20;
/** How the request of this number ends. */
function endingOf(number: number): Ending {
  const place = number % 50;
  if (place === 0) return "reset";
  return place === 25 ? "leave" : "status";
}
const requests = benchFigure("requests", argv[2] ?? 100_000, 1, 100_000_000);
const clients = benchFigure("clients", argv[3] ?? 64, 1, 10_000);

const random = new Prng(SEED);
const kinds = Array.from({ length: 64 }, () =>
  framesOf(JSON.stringify({ model: MODEL, prompt: Array.from({ length: 8 }, () => random.below(128_000)) })),
);

console.log(`${machine()}, seed ${SEED}, ${requests} requests, ${clients} at once`);
const daemon = await PickerDaemon.start(ENGINES);
const client = new LoadClient(daemon.port);
await ready(client, kinds);
// What the first requests compile and fill stays.
await sendAll(client, kinds, requests / 2, clients);
const failures = new Map<string, number>();
const resident: number[] = [];
const [beganMs, beganCpuMs] = [performance.now(), daemon.threadCpuMs];
for (let part = 0; part < PARTS; part++) {
  const sent = await sendAll(client, kinds, requests / PARTS, clients, endingOf);
  for (const [why, count] of sent.failures) failures.set(why, (failures.get(why) ?? 0) + count);
  resident.push(daemon.residentMib);
}
const seconds = (performance.now() - beganMs) / 1000;
const threadMs = (daemon.threadCpuMs - beganCpuMs) / requests;
await new Promise((resolve) => setTimeout(resolve, 2000));
const { bookings } = await daemon.status();
const third = PARTS / 3;
const [first, last] = [Math.max(...resident.slice(0, third)), Math.max(...resident.slice(-third))];
console.log(
  `${(requests / seconds).toFixed(0)} requests a second, ${threadMs.toFixed(3)} ms of CPU of the picker's thread each; ` +
    `failed: ${JSON.stringify([...failures])}; booked at the end: ${bookings}`,
);
console.log(
  `MiB resident by part: ${resident.map((mib) => mib.toFixed(0)).join(" ")}; thirds ${first.toFixed(0)}, ${last.toFixed(0)}`,
);
client.close();
await daemon.stop();
process.exitCode = failures.size > 0 || bookings > 0 || last > first + GROWTH_MIB_MAX ? 1 : 0;
