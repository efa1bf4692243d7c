/** The web page's data from a real daemon that follows real engines: rows, figures, happenings, ends. */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DaemonProcess, type RankReport } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PageReader } from "./page-reader.ts";

let engines: TestEngine[];
let daemon: DaemonProcess;

beforeAll(async () => {
  engines = await Promise.all([0, 1, 2].map((i) => TestEngine.start({ id: `engine-${i}` }, i + 1)));
  daemon = await DaemonProcess.start({
    engines: engines.map(({ entry }) => entry),
    dashboard: { viewers: 2 },
  });
  for (const engine of engines) await engine.serve(5);
  await caughtUp(daemon, engines);
});

afterAll(async () => {
  await daemon.end();
  for (const engine of engines) await engine.stop();
});

/** What both the page and the list of engines show of each rank. */
async function listed(): Promise<Readonly<Record<string, unknown>>[]> {
  const answer = (await (await daemon.fetch("/api/v1/engines")).json()) as {
    readonly engines: readonly { readonly id: string; readonly ranks: readonly RankReport[] }[];
  };
  return answer.engines
    .flatMap(({ id, ranks }) => ranks.map((rank) => ({ id, rank })))
    .sort((a, b) => a.rank.rank_slot - b.rank.rank_slot)
    .map(({ id, rank }) => ({
      id,
      slot: rank.rank_slot,
      seq: rank.last_sequence_number,
      blocks: (rank as unknown as { readonly blocks_held: number }).blocks_held,
      gaps: rank.gaps,
      missed: rank.missed_messages,
      restarts: rank.restarts,
      connected: rank.connected ? 1 : 0,
    }));
}

function shown(reader: PageReader): Readonly<Record<string, unknown>>[] {
  return reader.rows.map(({ id, slot, seq, blocks, gaps, missed, restarts, connected }) => ({
    id,
    slot,
    seq,
    blocks,
    gaps,
    missed,
    restarts,
    connected,
  }));
}

test("the page's rows are those of the list of engines, at the start and after load", async () => {
  const reader = await PageReader.open(daemon);
  await until("there is a snapshot", () => Promise.resolve(reader.rows.length === 3));
  expect(shown(reader)).toEqual(await listed());
  expect(reader.of("hello")[0]).toMatchObject({ version: "0.1.0", step: 5, limits: { viewers: 2 } });
  expect(reader.headers.get("x-kvsync-instance")).toBe(reader.of("hello")[0]?.["instance"]);
  expect(reader.headers.get("cache-control")).toBe("no-store");
  for (const engine of engines) await engine.serve(10);
  await caughtUp(daemon, engines);
  const expected = await listed();
  await until("the page has caught up", () =>
    Promise.resolve(JSON.stringify(shown(reader)) === JSON.stringify(expected)),
  );
  const stored = reader.of("delta").map(({ totals }) => (totals as { events: { stored: number } }).events);
  expect(Math.max(...stored.map((events) => events.stored))).toBeGreaterThan(0);
  await reader.close();
});

test("messages that are lost are told as they happen: trust that falls and comes back, the gap, its replay", async () => {
  const [engine] = engines;
  if (engine === undefined) throw new Error("no engine");
  const reader = await PageReader.open(daemon);
  await engine.server.applyFault({ kind: "drop", percent: 100 }, 0);
  await engine.serve(5);
  await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
  await engine.serve(1);
  await caughtUp(daemon, [engine]);
  const told = (kind: string) => reader.of("happening").filter((one) => one["kind"] === kind);
  await until("the replay has ended on the page", () => Promise.resolve(told("replay").length > 0));
  const [gap] = told("gap");
  expect(gap).toMatchObject({ engine: "engine-0", rank: 0 });
  const expected = await listed();
  await until("the page has the gap's row", () =>
    Promise.resolve(JSON.stringify(shown(reader)) === JSON.stringify(expected)),
  );
  const missed = told("gap").reduce((sum, { messages }) => sum + Number(messages), 0);
  expect(missed).toBe(Number(expected[0]?.["missed"]));
  expect(told("replay")[0]?.["text"]).toMatch(/ended: completed$/);
  await until("trust has come back", () => Promise.resolve(told("trust").at(-1)?.["trust"] === "exact"));
  expect(told("trust").map(({ trust }) => trust)).toContain("stale");
  const again = await PageReader.open(daemon);
  await until("a later page has them from the start", () =>
    Promise.resolve(
      again.of("snapshot").some(({ happenings }) => JSON.stringify(happenings).includes('"gap"')),
    ),
  );
  await again.close();
  await reader.close();
});

test("the history has the load's events, and lookups by their decisions", async () => {
  await daemon.fetch("/api/v1/match", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "test/model", token_ids: [...(engines[0]?.firstPrompt ?? [])] }),
  });
  const history = await until("the samples have both", async () => {
    const found = (await (await daemon.fetch("/api/v1/dashboard/history?seconds=600")).json()) as {
      readonly step: number;
      readonly series: Readonly<Record<string, readonly (number | null)[]>>;
    };
    const has = (name: string): boolean => (found.series[name] ?? []).some((value) => (value ?? 0) > 0);
    const names = ["events_applied.stored", "lookups.exact", "lookup_p99", "hit_rate{test/model}"];
    return names.every(has) ? found : null;
  });
  expect(history.step).toBe(5);
  for (const values of Object.values(history.series)) expect(values.length).toBe(120);
  expect((await daemon.fetch("/api/v1/dashboard/history?seconds=0")).status).toBe(400);
  expect((await daemon.fetch("/api/v1/dashboard/history?minutes=1")).status).toBe(400);
});

test("viewers are counted and bounded, and the time of a stream is not a time of answering", async () => {
  const readers = [await PageReader.open(daemon), await PageReader.open(daemon)];
  const refused = await daemon.fetch("/api/v1/dashboard/stream");
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: "too_many_viewers", maximum: 2 });
  const metrics = async (): Promise<string> => (await daemon.fetch("/metrics")).text();
  expect(await metrics()).toContain(`${NAMESPACE}_kv_stream_active_sessions{kind="dashboard"} 2`);
  for (const reader of readers) await reader.close();
  const left = `${NAMESPACE}_kv_stream_active_sessions{kind="dashboard"} 0`;
  await until("the viewers are gone", async () => (await metrics()).includes(left));
  const again = await PageReader.open(daemon);
  await again.close();
  const text = await metrics();
  expect(text).toMatch(new RegExp(`${NAMESPACE}_kv_dashboard_stream_bytes_total [1-9]`));
  expect(text).not.toContain(
    `request_duration_seconds_count{method="GET",route="/api/v1/dashboard/stream"} 1`,
  );
});

test("a daemon that stops says so to each viewer, and then ends the stream", async () => {
  const reader = await PageReader.open(daemon);
  const ended = daemon.end();
  await reader.ended;
  expect(reader.events.at(-1)).toEqual({ event: "bye", data: { reason: "stopping", retry_ms: 3000 } });
  expect((await ended).code).toBe(0);
});
