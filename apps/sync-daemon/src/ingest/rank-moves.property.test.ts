/**
 * Compares ranks that move between the parts of an index with ranks that stay.
 *
 * Two sides follow random streams and get the same messages. One side has one writer. The other has two or three,
 * and its ranks move between them in the middle of everything. Where one side moves a rank, the other hands it to a new stream of
 * its only writer. So all else is equal. Other ranks' messages are applied while the rows of one are on their way. Claims:
 *
 *  1  Both sides have the same holders under the same names with the same copies, and the same orders of contexts. The same stores
 *     wait, and streams have the same positions and trust.
 *  2  Each part is sound, and a part that a rank left has nothing of it.
 *
 * KVSYNC_SEED repeats one seed, KVSYNC_SEEDS runs more.
 */
import { Prng } from "@kvsync/core";
import { expect, test } from "vitest";

import { Publisher, Side } from "./testing/restored-world.ts";

const SEEDS = Number(process.env["KVSYNC_SEEDS"] ?? 10);
const ONLY = process.env["KVSYNC_SEED"];
const RANKS = [0, 1, 5, 4095];
const STEPS = 150;
const COMPARE_EVERY = 30;
/** On a busy machine; a seed takes half a second of an idle one. */
const TIMEOUT_MS = 60_000 + 12_000 * SEEDS;

/** Worlds, and what was seen in them: a test that never meets what it is for proves nothing. */
const met = { moves: 0, refused: 0, rows: 0, parked: 0, exact: 0, partial: 0, stale: 0, groups: 0 };

class World {
  readonly random: Prng;
  readonly publishers: readonly Publisher[];
  readonly sides: readonly [stays: Side, moves: Side];
  nowMs = 1_000_000;

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.publishers = RANKS.map((slot) => new Publisher(slot, this.random));
    const options = {
      memoryBytesMax: 64 * 1024 * 1024,
      parkedStoresPerRankMax: this.random.pick([4, 1024]),
    };
    this.sides = [new Side(1, options), new Side(this.random.pick([2, 3]), options)];
  }

  follow(): void {
    for (const publisher of this.publishers) {
      for (let lead = this.random.pick([0, 2, 40]); lead > 0; lead--) publisher.say();
      for (const side of this.sides) side.follow(publisher);
      this.connect(publisher);
    }
  }

  connect(publisher: Publisher): void {
    for (const side of this.sides) {
      side.stream(publisher.rankSlot).connected(this.nowMs);
      side.answer(publisher, this.nowMs);
    }
  }

  /** Says one message: lost, doubled or as it should be, for both sides alike. */
  say(publisher: Publisher, loss: number, isAnswered: boolean): void {
    this.nowMs += this.random.below(1500);
    const frames = publisher.say();
    const times = this.random.chance(loss) ? 0 : this.random.chance(0.05) ? 2 : 1;
    for (const side of this.sides) {
      for (let i = 0; i < times; i++) side.stream(publisher.rankSlot).liveMessage(frames, this.nowMs);
      if (isAnswered) side.answer(publisher, this.nowMs);
    }
  }

  async move(publisher: Publisher): Promise<void> {
    const [stays, moves] = this.sides;
    const to = this.random.below(moves.writers.length);
    const others = this.publishers.filter((one) => one !== publisher);
    const said = Array.from({ length: this.random.below(4) }, () => this.random.pick(others));
    const { nowMs } = this;
    const isMoved = await moves.move(publisher, to, nowMs, () => {
      for (const other of said) this.say(other, 0, true);
    });
    expect(await stays.move(publisher, 0, nowMs, () => undefined)).toBe(isMoved);
    if (!isMoved) {
      met.refused++;
      return;
    }
    met.moves++;
    if (this.random.chance(0.2)) publisher.restart();
    for (let missed = this.random.below(3); missed > 0; missed--) publisher.say();
    this.connect(publisher);
  }

  compare(): void {
    const [stays, moves] = this.sides.map((side) => side.seen(RANKS, this.nowMs));
    expect(moves?.rows, "1: rows").toEqual(stays?.rows);
    expect(moves?.parked, "1: what waits").toEqual(stays?.parked);
    expect(moves?.streams, "1: streams").toEqual(stays?.streams);
    expect(moves?.orders, "1: orders of contexts").toEqual(stays?.orders);
    expect(
      this.sides.flatMap(({ writers }) => writers.flatMap((writer) => writer.check())),
      "2: sound",
    ).toEqual([]);
    met.rows += moves?.rows.length ?? 0;
    met.groups += moves?.rows.filter((row) => row.includes("group 1")).length ?? 0;
    met.parked += moves?.parked.length ?? 0;
    for (const { trust } of (moves?.streams ?? []) as { trust: string }[])
      if (trust === "partial" || trust === "exact" || trust === "stale") met[trust]++;
  }
}

async function runSeed(seed: number): Promise<void> {
  const world = new World(seed);
  const { random, publishers } = world;
  world.follow();
  for (let step = 1; step <= STEPS; step++) {
    const publisher = random.pick(publishers);
    if (random.chance(0.12)) await world.move(publisher);
    else world.say(publisher, 0.1, random.chance(0.9));
    if (step % COMPARE_EVERY === 0) world.compare();
  }
}

test(`ranks that move are as ranks that stay (KVSYNC_SEEDS=${SEEDS})`, { timeout: TIMEOUT_MS }, async () => {
  const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONLY)];
  for (const seed of seeds) {
    try {
      await runSeed(seed);
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
