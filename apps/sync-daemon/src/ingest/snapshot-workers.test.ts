/** Streams of several snapshot files in one index. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type ContextKey, HOLDER_SLOTS_MAX, PrefixIndex, PrefixReader, RANK_SLOTS_MAX } from "@kvsync/core";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";

import { FleetShard } from "../engine/fleet-shard.ts";
import type { SnapshotStream } from "../engine/followed-rank.ts";
import { restoreSnapshot } from "./snapshot-restore.ts";
import { SlotPlans } from "../snapshot/slot-plans.ts";
import { type SnapshotHead, verifySnapshot, writePart, writeSnapshot } from "../snapshot/snapshot-file.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-plans-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const mark = { sequenceNumber: 7, low: 1, high: 2, atMs: 3 };

function stream(workerId: string, rankSlot: number, groupSlots: readonly number[] = []): SnapshotStream {
  const shape = { rule: "run", kind: "none", windowTokens: 0, blockSize: 4 } as const;
  return {
    rankSlot,
    workerId,
    model: "m",
    dpRank: 0,
    endpoint: `tcp://${workerId}:5557`,
    topic: "",
    reportMode: "delta",
    position: {
      lastSequenceNumber: 7,
      begunAt: 0,
      lastBatchTimestampSeconds: null,
      fence: { anchor: mark, newer: mark, last: mark },
      applier: {
        groups: {
          main: 0,
          mainBlockSize: 4,
          mainKind: "full_attention",
          contextBlockSize: 4,
          scoutedCount: 1,
          groups: groupSlots.map((slot, i) => ({ slot, index: i + 1, ...shape })),
          others: [],
          isSetAside: false,
        },
        outlivesClear: false,
        losses: [],
        hasParkedBelowDevice: false,
        hasGivenUp: false,
        uncertainCopies: [rankSlot, ...groupSlots].map((slot) => [slot, 1, 2, 1, false] as const),
        contentNames: [],
        historyFrom: 0,
        overReportsSince: -1,
      },
    },
  };
}

function slotsOf({ rankSlot, position }: SnapshotStream): number[] {
  return [rankSlot, ...position.applier.groups.groups.map(({ slot }) => slot)];
}

const worker = fc.integer({ min: 0, max: 20 }).map((n) => `w${n}`);
const file = fc.uniqueArray(fc.record({ worker, groups: fc.nat(3) }), { selector: (one) => one.worker });

test("no two streams or groups share a slot, and each worker comes from the first file that has it (J1, J2)", () => {
  fc.assert(
    fc.property(fc.array(file, { maxLength: 5 }), (files) => {
      const plans = new SlotPlans((id) => id !== "w0");
      const seen = new Map<string, number>();
      const used = new Set<number>();
      for (const [i, workers] of files.entries()) {
        const streams = workers.map(({ worker: id, groups }, n) =>
          stream(
            id,
            n,
            Array.from({ length: groups }, (_, g) => RANK_SLOTS_MAX + 8 * n + g),
          ),
        );
        const plan = plans.next(streams);
        for (const planned of plan.streams) {
          expect(seen.has(planned.workerId)).toBe(false);
          expect(planned.workerId).not.toBe("w0");
          seen.set(planned.workerId, i);
          for (const slot of slotsOf(planned)) {
            expect(used.has(slot)).toBe(false);
            used.add(slot);
          }
          const original = streams.find(({ workerId }) => workerId === planned.workerId);
          expect(slotsOf(original ?? planned).map((slot) => plan.slots.get(slot))).toEqual(slotsOf(planned));
          const { uncertainCopies } = planned.position.applier;
          expect(uncertainCopies.map(([slot]) => slot)).toEqual(slotsOf(planned));
        }
        for (const { workerId } of streams) if (workerId !== "w0") expect(seen.has(workerId)).toBe(true);
      }
    }),
  );
});

test("each stream is in the plan of one part, with the slots of that part (J4)", () => {
  const streams = Array.from({ length: 10 }, (_, n) =>
    stream(`w${n}`, 7 * n, [RANK_SLOTS_MAX + 2 * n, RANK_SLOTS_MAX + 2 * n + 1]),
  );
  const plans = [0, 1, 2].map((number) => new SlotPlans(() => true, { number, count: 3 }).next(streams));
  const planned = plans.flatMap((plan) => plan.streams);
  expect(planned.map(({ workerId }) => workerId).sort()).toEqual(streams.map(({ workerId }) => workerId));
  const used = planned.flatMap(slotsOf);
  expect(new Set(used).size).toBe(used.length);
  for (const [part, plan] of plans.entries())
    for (const one of plan.streams)
      for (const slot of slotsOf(one).slice(1)) expect((slot - RANK_SLOTS_MAX) % 3).toBe(part);
});

test("streams beyond the slots that there are get none (J3)", () => {
  const groupsPerStream = 64;
  const plans = new SlotPlans(() => true);
  const streams = Array.from({ length: 100 }, (_, n) =>
    stream(
      `w${n}`,
      n,
      Array.from({ length: groupsPerStream }, (_, g) => RANK_SLOTS_MAX + groupsPerStream * n + g),
    ),
  );
  expect(plans.next(streams).streams).toHaveLength((HOLDER_SLOTS_MAX - RANK_SLOTS_MAX) / groupsPerStream);
});

const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };

/** A file of some workers, each with a chain of its own; the second block is every worker's. */
function written(
  name: string,
  workers: readonly (readonly [id: string, chain: number])[],
  createdMs: number,
): string {
  const index = PrefixIndex.create({ memoryBytesMax: 32 * 1024 * 1024, seed: 5n });
  const context = index.openContext(CONTEXT);
  for (const [slot, [, chain]] of workers.entries()) {
    index.scratch.tokens.set([chain, chain, chain, chain]);
    index.scratch.hashes.set([100 * chain, 1]);
    index.storeBlocks(context, slot, 0, 1, false, 0, 0, false);
    index.scratch.tokens.set([9, 9, 9, 9]);
    index.scratch.hashes.set([7, 7]);
    index.storeBlocks(context, slot, 0, 1, false, 0, 0, false);
  }
  const streams = workers.map(([id], slot) => stream(id, slot));
  const head: SnapshotHead = { productVersion: "0", createdMs, hashSeed: "5", streams };
  const path = join(folder, name);
  writeSnapshot(path, head, index.copy());
  return path;
}

/** Who holds a chain in a restored index. */
function holders(index: PrefixIndex, streams: readonly SnapshotStream[], chain: number): string[] {
  const reader = PrefixReader.attach(index.shared, { tokensMax: 64 });
  reader.tokens.set([chain, chain, chain, chain]);
  const { matchCount, rows } = reader.matchTokens(reader.findContext(CONTEXT), 4, false);
  const width = rows.length / Math.max(1, matchCount);
  const slots = Array.from({ length: matchCount }, (_, i) => rows[i * width]);
  reader.detach();
  return slots.map((slot) => streams.find(({ rankSlot }) => rankSlot === slot)?.workerId ?? "?").sort();
}

test("an index filled from two files has each worker's blocks from the newer one, and no other's", () => {
  const older = written(
    "older",
    [
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ],
    1000,
  );
  const newer = written(
    "newer",
    [
      ["d", 4],
      ["b", 5],
    ],
    2000,
  );
  const index = PrefixIndex.create({ memoryBytesMax: 32 * 1024 * 1024, seed: 5n });
  const restored = restoreSnapshot(index, { paths: [older, newer], shard: null }, new Set());
  if (restored.kind !== "restored") throw new Error(restored.message);
  expect(restored).toMatchObject({ createdMs: 1000, rows: 8 });
  expect([1, 2, 3, 4, 5, 9].map((chain) => holders(index, restored.streams, chain))).toEqual([
    ["a"],
    [],
    ["c"],
    ["d"],
    ["b"],
    ["a", "b", "c", "d"],
  ]);
  expect(index.check()).toEqual([]);
});

test("a shard takes its own workers alone, and a file of another seed is as none", () => {
  const ids = Array.from({ length: 40 }, (_, n) => `engine-${n}`);
  const path = written(
    "all",
    ids.map((id, n) => [id, 10 + n] as const),
    1000,
  );
  const shard = new FleetShard(1, 4);
  const index = PrefixIndex.create({ memoryBytesMax: 32 * 1024 * 1024, seed: 5n });
  const restored = restoreSnapshot(index, { paths: [path], shard: { index: 1, count: 4 } }, new Set());
  if (restored.kind !== "restored") throw new Error(restored.message);
  const own = ids.filter((id) => shard.owns(id));
  expect(restored.streams.map(({ workerId }) => workerId)).toEqual(own);
  expect(holders(index, restored.streams, 9)).toEqual([...own].sort());
  const other = PrefixIndex.create({ memoryBytesMax: 32 * 1024 * 1024, seed: 6n });
  expect(restoreSnapshot(other, { paths: [path, path], shard: null }, new Set())).toMatchObject({
    kind: "refused",
    code: "other_hash_seed",
  });
});

test("a part of a file has the workers of one shard, and parts of all shards are the whole", () => {
  const ids = Array.from({ length: 40 }, (_, n) => `engine-${n}`);
  const path = written(
    "whole",
    ids.map((id, n) => [id, 10 + n] as const),
    1000,
  );
  const parts = Array.from({ length: 4 }, (_, index) => {
    const part = join(folder, `part-${index}`);
    writePart(path, part, (id) => new FleetShard(index, 4).owns(id));
    return part;
  });
  const heads = parts.map((part) => verifySnapshot(part));
  expect(heads.flatMap(({ head }) => head.streams.map(({ workerId }) => workerId)).sort()).toEqual(
    [...ids].sort(),
  );
  expect(heads.reduce((sum, { rows }) => sum + rows, 0)).toBe(verifySnapshot(path).rows);
  const index = PrefixIndex.create({ memoryBytesMax: 32 * 1024 * 1024, seed: 5n });
  const restored = restoreSnapshot(index, { paths: parts, shard: null }, new Set());
  if (restored.kind !== "restored") throw new Error(restored.message);
  expect(ids.map((_, n) => holders(index, restored.streams, 10 + n))).toEqual(ids.map((id) => [id]));
  expect(index.check()).toEqual([]);
});
