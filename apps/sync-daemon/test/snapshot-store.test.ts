/** When a store makes a snapshot, and when it must not: V1 and V2 of snapshot-store.ts, with the built thread that writes. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { PrefixIndex } from "@kvsync/core";
import { SNAPSHOT_METRICS } from "@kvsync/observability/kvsync/snapshot";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, beforeEach, expect, test } from "vitest";

import { WHOLE_FLEET } from "../src/engine/fleet-shard.ts";
import { eventWriter } from "../src/log/log-line.ts";
import { recordedLines } from "../src/log/testing/recorded-log.ts";
import { verifySnapshot } from "../src/snapshot/snapshot-file.ts";
import { SnapshotStore } from "../src/snapshot/snapshot-store.ts";
import type { TakenSnapshot } from "../src/snapshot/taken-snapshot.ts";

const SCRIPT = new URL("../dist/snapshot/snapshot-thread.js", import.meta.url);
/** More than any write of an empty index takes. */
const LONG_MS = 60_000;

let folder = "";
let lost: string | null = null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-store-"));
  lost = null;
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const fileOf = (): string => join(folder, "kvsync.snapshot");

function storeOf(take: () => Promise<TakenSnapshot>) {
  const { lines, write } = recordedLines();
  const settings = {
    enabled: true,
    directory: folder,
    interval_seconds: 3600,
    warm_from: [],
    warm_timeout_seconds: 1,
    warm_token_file: null,
  };
  const store = new SnapshotStore(settings, {
    take,
    script: SCRIPT,
    version: "0.0.0-test",
    shard: WHOLE_FLEET,
    metrics: new MetricSlots(Object.values(SNAPSHOT_METRICS), "main", () => undefined),
    log: eventWriter("snapshot", write),
    tracing: null,
    whyFolderLost: () => lost,
    now: Date.now,
  });
  return { store, lines };
}

const index = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
const takenAt = (takenMs: number): TakenSnapshot => ({
  takenMs,
  streams: [],
  copies: [index.copy()],
  stoodStillMs: 0,
});

test("a stop during a snapshot makes another one, with the state of the stop (V1)", async () => {
  let stateMs = 1000;
  let taken = 0;
  const { store } = storeOf(() => {
    taken += 1;
    return Promise.resolve(takenAt(stateMs));
  });
  const under = store.write();
  // The copy of the one under way has been asked for, and everything after it is missing in it.
  stateMs = 2000;
  await store.stop(LONG_MS);
  expect(taken).toBe(2);
  expect((await under).path).toBe(fileOf());
  expect(verifySnapshot(fileOf()).head.createdMs).toBe(2000);
  expect(verifySnapshot(`${fileOf()}.previous`).head.createdMs).toBe(1000);
});

test("a stop does not wait longer than it may, and the log says that the last snapshot is missing", async () => {
  const { store, lines } = storeOf(() => new Promise(() => undefined));
  await store.stop(20);
  expect(lines.map(({ event, message }) => [event, message])).toEqual([
    ["snapshot_failed", expect.stringContaining("the last snapshot was not written in 20 ms")],
  ]);
});

test("a folder that another daemon has takes no snapshot, neither on the clock nor at the stop (V2)", async () => {
  const { store, lines } = storeOf(() => Promise.resolve(takenAt(1000)));
  lost = "it was taken over";
  await expect(store.write()).rejects.toMatchObject({ facts: { code: "folder_lost" } });
  expect(store.check()).toEqual({ ok: false, message: lost });
  await store.stop(LONG_MS);
  expect(existsSync(fileOf())).toBe(false);
  expect(lines.map(({ event }) => event)).toEqual(["snapshot_failed", "snapshot_failed"]);
});
