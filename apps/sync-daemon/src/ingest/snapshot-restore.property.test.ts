/**
 * Compares a daemon's state with the state restored from its snapshot.
 *
 * Goal: everything that a snapshot loses or damages shows here, also in unforeseen cases.
 * Methodology: random streams are followed. The daemon's own code writes a snapshot and reads it
 * into a fresh index, by more or fewer writers. The streams have late starts, so that stores wait
 * for parents, and losses, duplicates and damage. They have groups whose stores wait too, tiers,
 * adapters, pairs, salts and placeholders. Names are used twice, and engines report everything
 * again. Then both daemons connect again and receive the same messages. Claims:
 *
 *  1  The restored daemon has the same holders under the same names with the same copies. The same
 *  stores wait, word for word, and its streams have the same positions. 2  It asks for the same
 *  replays, and after the same messages all that holds again. 3  The index is sound at every stop.
 *
 * KVSYNC_SEED repeats one seed, KVSYNC_SEEDS runs more.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Prng, RANK_SLOTS_MAX } from "@kvsync/core";
import { afterAll, expect, test } from "vitest";

import type { SnapshotStream } from "../engine/followed-rank.ts";
import { writeSnapshot } from "../snapshot/snapshot-file.ts";
import { Publisher, Side, withoutSlots } from "./testing/restored-world.ts";
import type { RestoredSnapshot, RestoreOrder } from "../snapshot/restored-snapshot.ts";
import { restoreSnapshot } from "./snapshot-restore.ts";

const SEEDS = Number(process.env["KVSYNC_SEEDS"] ?? 80);
const ONLY = process.env["KVSYNC_SEED"];
const RANKS = [0, 1, 5, 4095];
/** Of odd seeds: the slots that ranks get as those of one of several files. */
const FIRST_RANKS = [0, 1, 2, 3];
const ROUNDS = 12;
const folder = mkdtempSync(join(tmpdir(), "kvsync-restored-"));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Worlds, and what was seen in them: a test that never meets what it is for proves nothing. */
const met = {
  streams: 0,
  planned: 0,
  renamed: 0,
  parked: 0,
  parkedOfGroups: 0,
  attached: 0,
  partial: 0,
  exact: 0,
  restarted: 0,
  rows: 0,
};

class World {
  readonly random: Prng;
  readonly publishers: readonly Publisher[];
  readonly options: { readonly memoryBytesMax: number; readonly parkedStoresPerRankMax: number };
  nowMs = 1_000_000;

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.publishers = (seed % 2 === 1 ? FIRST_RANKS : RANKS).map((slot) => new Publisher(slot, this.random));
    this.options = {
      memoryBytesMax: 64 * 1024 * 1024,
      parkedStoresPerRankMax: this.random.pick([4, 1024]),
    };
  }

  /** Says one message and has all sides hear it: lost, doubled or as it should be, for all of them alike. */
  say(publisher: Publisher, sides: readonly Side[], loss: number): void {
    this.nowMs += this.random.below(1500);
    const frames = publisher.say();
    const times = this.random.chance(loss) ? 0 : this.random.chance(0.05) ? 2 : 1;
    for (let i = 0; i < times; i++)
      for (const side of sides) side.stream(publisher.rankSlot).liveMessage(frames, this.nowMs);
  }

  /** Follows from the middle of the engines' lives, with losses, to somewhere; some are left waiting for a replay. */
  before(side: Side): void {
    for (const publisher of this.publishers) {
      for (let lead = this.random.pick([0, 2, 40]); lead > 0; lead--) publisher.say();
      side.follow(publisher);
      side.stream(publisher.rankSlot).connected(this.nowMs);
      side.answer(publisher, this.nowMs);
    }
    for (let i = this.random.below(160); i > 0; i--) {
      const publisher = this.random.pick(this.publishers);
      this.say(publisher, [side], 0.1);
      if (this.random.chance(0.9)) side.answer(publisher, this.nowMs);
    }
  }

  /** What engines say while nobody listens. */
  meanwhile(): void {
    for (const publisher of this.publishers) {
      if (this.random.chance(0.1)) {
        publisher.restart();
        met.restarted++;
      }
      for (let i = this.random.below(6); i > 0; i--) publisher.say();
    }
  }
}

/** Each part takes its share of the streams. */
function restoreParts(side: Side, order: RestoreOrder): Extract<RestoredSnapshot, { kind: "restored" }> {
  const count = side.writers.length;
  const parts = side.writers.map((writer, number) => {
    const outcome = restoreSnapshot(writer, { ...order, part: { number, count } }, new Set());
    if (outcome.kind === "refused") throw new Error(outcome.message);
    return outcome;
  });
  const streams = parts.flatMap((part) => part.streams).sort((a, b) => a.rankSlot - b.rankSlot);
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const parked = new Map(parts.flatMap((part) => [...part.parked]));
  return { kind: "restored", createdMs: 1, rows, streams, parked };
}

function runSeed(seed: number): void {
  const world = new World(seed);
  const { random, options } = world;
  const original = new Side(random.pick([1, 2]), options);
  world.before(original);
  const streams = original.positions(world.publishers, world.nowMs);
  const path = join(folder, "kvsync.snapshot");
  writeSnapshot(path, { productVersion: "0", createdMs: 1, hashSeed: "1337", streams }, ...original.copies());

  // As one of several files, or for one of several parts, groups get other slots; ranks the same, where none is missing.
  const isPlanned = seed % 2 === 1 && streams.every(({ rankSlot }, i) => rankSlot === i);
  const restored = new Side(isPlanned ? random.pick([1, 2, 3]) : 1, options);
  const order = { paths: [path], shard: isPlanned ? { index: 0, count: 1 } : null };
  const outcome = restoreParts(restored, order);
  expect(outcome.streams.map(withoutGroupSlots)).toEqual(streams.map(withoutGroupSlots));
  if (isPlanned) met.planned++;
  if (outcome.streams.some((stream, i) => groupSlots(stream) !== groupSlots(streams[i]))) met.renamed++;
  const followed = world.publishers.filter(({ rankSlot }) =>
    streams.some((stream) => stream.rankSlot === rankSlot),
  );
  const ranks = followed.map(({ rankSlot }) => rankSlot);
  // What cannot be gone on from is not in the snapshot: without it the two have to be equal.
  for (const { rankSlot } of world.publishers)
    if (!ranks.includes(rankSlot)) original.stream(rankSlot).close();
  for (const publisher of followed) {
    const { rankSlot } = publisher;
    const position = outcome.streams.find((stream) => stream.rankSlot === rankSlot)?.position;
    restored.follow(publisher, position, outcome.parked.get(rankSlot));
    // At the moment of the snapshot: neither knows more of its publisher than the other.
    original.stream(rankSlot).disconnected(world.nowMs);
  }
  compare(world, original, restored, ranks);
  met.streams += ranks.length;

  world.meanwhile();
  world.nowMs += 10_000;
  for (const publisher of followed) {
    const asked = [original, restored].map((side) => {
      side.stream(publisher.rankSlot).connected(world.nowMs);
      return side.answer(publisher, world.nowMs);
    });
    expect(asked[1], "2: the same replays").toEqual(asked[0]);
  }
  compare(world, original, restored, ranks);
  for (let round = 0; round < ROUNDS; round++) {
    for (const publisher of followed) {
      world.say(publisher, [original, restored], round % 3 === 0 ? 0.2 : 0);
      for (const side of [original, restored]) side.answer(publisher, world.nowMs);
    }
    if (round % 4 === 3) compare(world, original, restored, ranks);
  }
}

function groupSlots(stream: SnapshotStream | undefined): string {
  return JSON.stringify(stream?.position.applier.groups.groups.map(({ slot }) => slot));
}

/** A stream with its groups by their numbers. */
function withoutGroupSlots(stream: SnapshotStream): object {
  const { groups } = stream.position.applier.groups;
  const nameOf = (slot: number): string =>
    `group ${groups.find((group) => group.slot === slot)?.index ?? "main"}`;
  return { ...stream, position: withoutSlots(stream.position, nameOf) };
}

/** 1, 3. */
function compare({ nowMs }: World, original: Side, restored: Side, ranks: readonly number[]): void {
  const [expected, actual] = [original.seen(ranks, nowMs), restored.seen(ranks, nowMs)];
  expect(actual.rows, "1: rows").toEqual(expected.rows);
  expect(actual.parked, "1: what waits").toEqual(expected.parked);
  expect(actual.streams, "1: streams").toEqual(expected.streams);
  expect(actual.orders, "1: orders of contexts").toEqual(expected.orders);
  expect(
    [original, restored].flatMap(({ writers }) => writers[0]!.check()),
    "3: sound",
  ).toEqual([]);
  met.rows += actual.rows.length;
  met.parked += actual.parked.length;
  met.parkedOfGroups += restored
    .copies()
    .flatMap(({ parked }) => parked)
    .filter(({ rankSlot }) => rankSlot >= RANK_SLOTS_MAX).length;
  met.attached += restored.writers.reduce((sum, writer) => sum + writer.stats().attachedStoreCount, 0);
  for (const { trust } of actual.streams as { trust: string }[])
    if (trust === "partial" || trust === "exact") met[trust]++;
}

test.each([
  ["a store of a group that waits for its parent goes with its rank (1)", 2],
  ["a lone store of coarser blocks stays a group, as the message that was read ahead had several (1)", 40],
  ["a smaller block of the main group is a part of one once another group is there (1)", 118],
])("%s, KVSYNC_SEED=%i", (_claim, seed) => {
  runSeed(seed);
});

test(`what comes back from a snapshot is what went in, and goes on alike (KVSYNC_SEEDS=${SEEDS})`, async () => {
  const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONLY)];
  for (const seed of seeds) {
    try {
      runSeed(seed);
      // Memories of indexes are given back only between tasks.
      await new Promise(setImmediate);
    } catch (error) {
      throw new Error(`KVSYNC_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
  console.log(JSON.stringify({ seeds: seeds.length, ...met }));
  if (ONLY !== undefined) return;
  for (const [what, count] of Object.entries(met)) expect(count, what).toBeGreaterThan(0);
});
