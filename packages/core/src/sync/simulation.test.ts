/**
 * The whole stream under virtual time: a publisher that tells the truth about itself, a network that does not (losses live and
 * in replay, duplicates, broken connections, stalls), restarts, burnt numbers, poison; and WorkerSync following.
 *
 * Claims, for every seed
 *  C1  At any moment, while trust is `exact`, the index equals what the publisher held after the last applied message; while it is
 *      `partial`, it holds nothing more than that. (With news of connections that come late, only from C2 on: until the news,
 *      a restarted publisher that continues our count by chance cannot be told.)
 *  C2  Once faults stop and the publisher has said one more message, the stream is live, up to date, and exact or partial,
 *      within SETTLE_MS of virtual time.
 *  C3  A partial index then has everything that the messages from `historyFrom` on tell by themselves.
 *  C4  Where the publisher still has its whole history, nothing of it is poisoned and replays are not lossy, it is exact.
 *
 * A failing seed prints its number, settings and log: run it alone with KVSYNC_SEED.
 */
import { expect, test } from "vitest";
import { Prng } from "../prng.ts";
import { NaivePrefixIndex } from "../prefix-index/naive-prefix-index.ts";
import {
  BLOCK_SIZE,
  BLOCKS,
  engineHash,
  type Epoch,
  NO_FAULTS,
  StreamWorld,
  tokensOf,
  type Truth,
  type WorldFaults,
  type WorldSettings,
} from "./stream-world.ts";
import { writeBigInt } from "../block-hash/block-hash.ts";
import type { KvEvent } from "../wire/events.ts";

const SEEDS = Number(process.env["KVSYNC_SEEDS"] ?? 600);
/** 15 s of pauses and their attempts of 2 s each, a rebuild (at most 60 s apart here), a probe. */
const SETTLE_MS = 180_000;
const RANK = 0;
const REFERENCE_RANK = 1;
const CONTEXT = { model: "sim", loraName: null, blockSize: BLOCK_SIZE, bigram: false };

const index = await NaivePrefixIndex.create();
const contextId = index.openContext(CONTEXT);
const blockOfPrefix = new Map<string, number>();
for (let block = 0; block < BLOCKS; block += 1) {
  apply({ number: 0, messages: [] }, storeOf(0, block));
  for (const line of index.dump(contextId)) {
    const prefix = line.split(" ")[0];
    if (!blockOfPrefix.has(prefix)) blockOfPrefix.set(prefix, block);
  }
}
index.clearRank(REFERENCE_RANK);

function storeOf(epoch: number, block: number): KvEvent {
  return {
    type: "BlockStored",
    blockHashes: [engineHash(epoch, block)],
    parentBlockHash: block === 0 ? null : engineHash(epoch, (block - 1) >> 1),
    tokenIds: tokensOf(block),
    blockSize: BLOCK_SIZE,
  };
}

/** Applies an event to the reference rank, past decoder and stream. */
function apply(_epoch: Epoch, event: KvEvent): void {
  if (event.type === "AllBlocksCleared") {
    index.clearRank(REFERENCE_RANK);
    return;
  }
  const hashes = event.blockHashes as readonly bigint[];
  hashes.forEach((hash, i) => {
    writeBigInt(hash, index.hashes, 2 * i);
  });
  if (event.type === "BlockRemoved") {
    index.removeBlocks(REFERENCE_RANK, 0, hashes.length);
    return;
  }
  index.tokens.set(event.tokenIds as number[]);
  const parent = new Uint32Array(2);
  writeBigInt((event.parentBlockHash ?? 0n) as bigint, parent, 0);
  const hasParent = event.parentBlockHash !== null;
  index.storeBlocks(contextId, REFERENCE_RANK, 0, hashes.length, hasParent, parent[0], parent[1], false);
}

function copiesOf(rankSlot: number): number[] {
  const copies = new Array<number>(BLOCKS).fill(0);
  for (const line of index.dump(contextId)) {
    const [prefix, rank, , count] = line.split(" ");
    if (Number(rank) === rankSlot) copies[blockOfPrefix.get(prefix)!] = Number(count);
  }
  return copies;
}

function isWithin(less: readonly number[], more: readonly number[]): boolean {
  return less.every((count, block) => count <= more[block]);
}

function truthAsApplied(world: StreamWorld): Truth {
  const last = world.sync.lastSequenceNumber;
  if (last === null) return new Array<number>(BLOCKS).fill(0);
  return world.appliedEpoch!.messages[last].truthAfter;
}

/** C1. */
function checkTrust(world: StreamWorld): void {
  const { trust } = world.sync;
  if (trust !== "exact" && trust !== "partial") return;
  const held = copiesOf(RANK);
  const truth = truthAsApplied(world);
  if (trust === "exact") expect(held, "C1: exact, and yet different").toEqual(truth);
  else if (!isWithin(held, truth)) expect(held, "C1: partial, and yet more than the truth").toEqual(truth);
}

/** C2 to C4. */
function checkSettled(world: StreamWorld, settings: WorldSettings): void {
  const { sync, epoch } = world;
  const published = epoch.messages.findLastIndex(({ payload }) => payload !== null);
  expect(sync.state, "C2: live").toBe("live");
  if (settings.ringMax === 0 && sync.historyFromSequenceNumber === null) {
    // It keeps nothing, so that a probe cannot tell it from a restarted one: begun afresh, and silent since.
    expect([sync.trust, ...copiesOf(RANK)]).toEqual(["partial", ...new Array<number>(BLOCKS).fill(0)]);
    return;
  }
  expect(sync.lastSequenceNumber, "C2: up to date").toBe(published);
  expect(world.appliedEpoch, "C2: follows the present publisher").toBe(epoch);
  const isPoisoned = epoch.messages.some((message) => message.isPoisoned);
  if ((!settings.hasReplay || settings.ringMax === 0) && sync.trust === "stale") {
    // Without history a lost removal stays until the engine clears or restarts.
    expect(isPoisoned, "C2: stale only by poison").toBe(true);
    return;
  }
  expect(["exact", "partial"], "C2: trusted").toContain(sync.trust);
  checkTrust(world);
  const truth = epoch.messages[published].truthAfter;
  index.clearRank(REFERENCE_RANK);
  for (const { events } of epoch.messages.slice(sync.historyFromSequenceNumber!)) {
    for (const event of events) apply(epoch, event);
  }
  const reference = copiesOf(REFERENCE_RANK);
  index.clearRank(REFERENCE_RANK);
  const held = copiesOf(RANK);
  if (!isWithin(reference, held)) expect(held, "C3: less than its history tells").toEqual(reference);
  const isWhole = settings.hasReplay && epoch.messages.length <= settings.ringMax;
  const isLossless = settings.faults.replayLoss === 0 && settings.faults.stall === 0;
  if (isWhole && isLossless && !isPoisoned) {
    expect(sync.trust, "C4: exact where history suffices").toBe("exact");
    expect(held).toEqual(truth);
  }
}

function settingsOf(prng: Prng, name: string): WorldSettings {
  const some = (probability: number): number => (prng.chance(0.5) ? probability : 0);
  const faults: Record<string, WorldFaults> = {
    calm: { ...NO_FAULTS, restart: some(0.02), breakage: some(0.03) },
    lossy: {
      ...NO_FAULTS,
      liveLoss: prng.pick([0.02, 0.1, 0.4]),
      duplicate: some(0.05),
      badFrames: some(0.02),
      queueLoss: some(0.1),
      restart: some(0.01),
      breakage: some(0.02),
    },
    wild: {
      liveLoss: some(0.1),
      replayLoss: prng.pick([0, 0.02, 0.2]),
      endLoss: prng.pick([0, 0.1, 0.6]),
      duplicate: some(0.02),
      burnt: some(0.02),
      poison: some(0.03),
      broken: some(0.01),
      badFrames: some(0.02),
      queueLoss: some(0.03),
      restart: some(0.02),
      breakage: some(0.02),
      stall: some(0.01),
    },
  };
  return {
    hasReplay: prng.chance(0.8),
    ringMax: prng.pick([0, 5, 30, 100_000]),
    lead: prng.pick([0, 1, 10, 60]),
    signals: "ordered",
    faults: faults[name],
    limits: {
      heldMessagesMax: prng.pick([2, 1024]),
      rebuildMs: 20_000,
      rebuildMsMax: 60_000,
      probeMsMax: prng.pick([5000, 60_000]),
    },
  };
}

function runSeed(seed: number, name: string, signals: WorldSettings["signals"]): StreamWorld {
  const prng = new Prng(seed);
  const settings = { ...settingsOf(prng, name), signals };
  index.clearRank(RANK);
  const world = new StreamWorld(prng, settings, index, RANK);
  try {
    if (signals !== "late") {
      world.onStep = () => {
        checkTrust(world);
      };
    }
    world.runTraffic(60);
    world.settle(1 + prng.below(3), SETTLE_MS);
    checkSettled(world, settings);
  } catch (error) {
    const log = world.log.slice(-60).join("\n");
    throw new Error(`seed ${seed} of "${name}", ${signals}: ${JSON.stringify(settings)}\n${log}`, {
      cause: error,
    });
  }
  return world;
}

const only = process.env["KVSYNC_SEED"];

test.each([
  ["calm", "ordered"],
  ["calm", "early"],
  ["calm", "late"],
  ["lossy", "ordered"],
  ["lossy", "early"],
  ["lossy", "late"],
  ["wild", "ordered"],
  ["wild", "early"],
  ["wild", "late"],
] as const)(
  "a %s network with %s news of connections never makes the index lie (C1 to C4)",
  (name, signals) => {
    if (only !== undefined) runSeed(Number(only), name, signals);
    else for (let seed = 1; seed <= SEEDS; seed += 1) runSeed(seed, name, signals);
  },
);
