/**
 * The whole stream under virtual time: a truthful publisher, a faulty network, and WorkerSync
 * following. The network has losses (live and in replay), duplicates, broken connections and
 * stalls. The publisher has restarts, skipped numbers and poison.
 *
 * Claims, for every seed
 *  C1  While trust is `exact`, the index equals the publisher's blocks after the last applied
 *      message. While it is `partial`, it holds nothing more than that. When news of connections
 *      comes late, this holds only from C2 on. Until the news, a restarted publisher that continues
 *      our count by chance cannot be detected.
 *  C2  After faults stop and the publisher has sent one more message, the stream becomes live and
 *      up to date. It is exact or partial within SETTLE_MS of virtual time.
 *  C3  A partial index then has everything that the messages from `historyFrom` on announce by
 *      themselves.
 *  C4  Where the publisher still has its whole history, nothing of it is poisoned and replays are not lossy, it is exact.
 *
 * A failing seed prints its number, settings and log: run it alone with KVSYNC_SEED.
 */
import { describe, expect, test } from "vitest";
import { toHex, writeBigInt } from "../block-hash/block-hash.ts";
import type { IndexWriter } from "../prefix-index/contract.ts";
import { type IndexCopy, IndexCopyReader } from "../prefix-index/index-copy.ts";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import type { PrefixIndexOptions } from "../prefix-index/index-options.ts";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import { DUMP_ROW_WORDS, PrefixReader } from "../prefix-index/prefix-reader.ts";
import { Prng } from "../prng.ts";
import type { KvEvent } from "../wire/events.ts";
import {
  BLOCK_SIZE,
  BLOCKS,
  engineHash,
  NO_FAULTS,
  StreamWorld,
  tokensOf,
  type Truth,
  type WorldFaults,
  type WorldSettings,
} from "./testing/stream-world.ts";

const SEEDS = Number(process.env["KVSYNC_SEEDS"] ?? 200);
/** 15 s of pauses and their attempts of 2 s each, a rebuild (at most 60 s apart here), a probe. */
const SETTLE_MS = 180_000;
const RANK = 0;
const REFERENCE_RANK = 1;
const CONTEXT = { model: "sim", loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 };
const NOTHING: Truth = new Array<number>(BLOCKS).fill(0);

/** An index that a stream writes to, and how to see what a rank holds there: copies by block. */
interface Subject {
  readonly writer: IndexWriter;
  copiesOf(rankSlot: number): number[];
  check(): readonly string[];
}

/** The specification; also the reference that messages are applied to directly, past decoder and stream. */
const naive = await NaivePrefixIndex.create();
const contextId = naive.openContext(CONTEXT);
const blockOfPrefix = new Map<string, number>();
for (let block = 0; block < BLOCKS; block += 1) {
  applyDirectly({
    type: "BlockStored",
    blockHashes: [engineHash(0, block)],
    parentBlockHash: block === 0 ? null : engineHash(0, (block - 1) >> 1),
    tokenIds: tokensOf(block),
    blockSize: BLOCK_SIZE,
  });
  const added = naive.dump(contextId).find((line) => !blockOfPrefix.has(line.split(" ")[0]))!;
  blockOfPrefix.set(added.split(" ")[0], block);
}
naive.clearRank(REFERENCE_RANK);

const naiveSubject: Subject = {
  writer: naive,
  copiesOf(rankSlot) {
    const copies = [...NOTHING];
    for (const line of naive.dump(contextId)) {
      const [prefix, rank, , count] = line.split(" ");
      if (Number(rank) === rankSlot) copies[blockOfPrefix.get(prefix)!] = Number(count);
    }
    return copies;
  },
  check: () => [],
};

function kernelSubject(options: PrefixIndexOptions = {}): Subject {
  return subjectOf(PrefixIndex.create(options));
}

function subjectOf(index: PrefixIndex): Subject {
  const reader = PrefixReader.attach(index.shared);
  const rows = new Uint32Array(DUMP_ROW_WORDS * 4 * BLOCKS);
  return {
    writer: index,
    copiesOf(rankSlot) {
      const copies = [...NOTHING];
      const context = reader.findContext(CONTEXT);
      if (context < 0) return copies;
      const { rows: count, cursor } = reader.dump(context, 0, rows);
      expect(cursor, "a page takes all").toBe(-1);
      for (let i = 0; i < count; i += 1) {
        const [low, high, rank, , held] = rows.subarray(DUMP_ROW_WORDS * i);
        if (rank === rankSlot) copies[blockOfPrefix.get(toHex(low, high))!] = held;
      }
      return copies;
    },
    check: () => index.check(),
  };
}

function applyDirectly(event: KvEvent): void {
  if (event.type === "AllBlocksCleared") {
    naive.clearRank(REFERENCE_RANK);
    return;
  }
  const hashes = event.blockHashes as readonly bigint[];
  hashes.forEach((hash, i) => {
    writeBigInt(hash, naive.hashes, 2 * i);
  });
  if (event.type === "BlockRemoved") {
    naive.removeBlocks(REFERENCE_RANK, 0, hashes.length);
    return;
  }
  naive.tokens.set(event.tokenIds as number[]);
  const parent = new Uint32Array(2);
  writeBigInt((event.parentBlockHash ?? 0n) as bigint, parent, 0);
  const hasParent = event.parentBlockHash !== null;
  naive.storeBlocks(contextId, REFERENCE_RANK, 0, hashes.length, hasParent, parent[0], parent[1], false);
}

function isHeld(copies: number): boolean {
  return copies > 0;
}

function isWithin(less: readonly number[], more: readonly number[]): boolean {
  return less.every((count, block) => count <= more[block]);
}

function truthAsApplied(world: StreamWorld): Truth {
  const last = world.sync.lastSequenceNumber;
  if (last === null) return NOTHING;
  return world.appliedEpoch!.messages[last].truthAfter;
}

/** C1. */
function checkTrust(world: StreamWorld, subject: Subject): void {
  const { trust } = world.sync;
  if (trust !== "exact" && trust !== "partial") return;
  const held = subject.copiesOf(RANK);
  const truth = truthAsApplied(world);
  // Copies that may be reports are not counted: what is held is the same, how many times is not.
  if (trust === "exact" && world.hasReports)
    expect(held.map(isHeld), "C1: exact, and yet different").toEqual(truth.map(isHeld));
  else if (trust === "exact") expect(held, "C1: exact, and yet different").toEqual(truth);
  else if (!isWithin(held, truth)) expect(held, "C1: partial, and yet more than the truth").toEqual(truth);
}

/** C2 to C4. */
function checkSettled(world: StreamWorld, settings: WorldSettings, subject: Subject): void {
  const { sync, epoch } = world;
  const published = epoch.messages.findLastIndex(({ payload }) => payload !== null);
  expect(sync.state, "C2: live").toBe("live");
  const hasHistory = settings.hasReplay && settings.ringMax > 0;
  if (!hasHistory && sync.historyFromSequenceNumber === null) {
    // Late news of the connection, or a probe of one that keeps nothing: begun afresh, and silent since.
    expect([sync.trust, ...subject.copiesOf(RANK)]).toEqual(["partial", ...NOTHING]);
    return;
  }
  expect(sync.lastSequenceNumber, "C2: up to date").toBe(published);
  expect(world.appliedEpoch, "C2: follows the present publisher").toBe(epoch);
  const isPoisoned = epoch.messages.some((message) => message.isPoisoned);
  if (!hasHistory && sync.trust === "stale") {
    // Without history a lost removal stays until the engine clears or restarts.
    expect(isPoisoned, "C2: stale only by poison").toBe(true);
    return;
  }
  expect(["exact", "partial"], "C2: trusted").toContain(sync.trust);
  checkTrust(world, subject);
  if (world.hasReports) return;
  const truth = epoch.messages[published].truthAfter;
  naive.clearRank(REFERENCE_RANK);
  for (const { events } of epoch.messages.slice(sync.historyFromSequenceNumber!))
    events.forEach(applyDirectly);
  const reference = naiveSubject.copiesOf(REFERENCE_RANK);
  const held = subject.copiesOf(RANK);
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
    // Each announcement is a copy.
    reportMode: "delta",
    reports: 0,
  };
}

function runSeed(
  seed: number,
  name: string,
  signals: WorldSettings["signals"],
  subject: Subject,
  reports: Partial<WorldSettings> = {},
): void {
  const prng = new Prng(seed);
  const settings = { ...settingsOf(prng, name), ...reports, signals };
  subject.writer.clearRank(RANK);
  const world = new StreamWorld(prng, settings, subject.writer, RANK);
  try {
    if (signals !== "late") {
      world.onStep = () => {
        checkTrust(world, subject);
      };
    }
    world.runTraffic(60);
    world.settle(1 + prng.below(3), SETTLE_MS);
    checkSettled(world, settings, subject);
    expect(subject.check()).toEqual([]);
  } catch (error) {
    const log = world.log.slice(-60).join("\n");
    throw new Error(`seed ${seed} of "${name}", ${signals}: ${JSON.stringify(settings)}\n${log}`, {
      cause: error,
    });
  }
}

const only = process.env["KVSYNC_SEED"];
const worlds = ["calm", "lossy", "wild"].flatMap((name) =>
  (["ordered", "early", "late"] as const).map((signals) => ({ name, signals })),
);
const kernel = kernelSubject();
const snapshotIndex = PrefixIndex.create();
/** The copy before: a new one takes its memory. Without that, a thousand copies would wait for a garbage collection. */
let usedCopy: IndexCopy | null = null;
const snapshotSubject = subjectOf(snapshotIndex);

describe.each([
  { writer: "the naive index", subject: naiveSubject },
  { writer: "the kernel", subject: kernel },
])("a stream that writes to $writer", ({ subject }) => {
  test.each(worlds)(
    "network $name, news of connections $signals: never lies (C1 to C4)",
    ({ name, signals }) => {
      if (only !== undefined) runSeed(Number(only), name, signals, subject);
      else for (let seed = 1; seed <= SEEDS; seed += 1) runSeed(seed, name, signals, subject);
    },
  );
});

test.each(worlds)(
  "network $name, news of connections $signals: reports and copies from the root never make it lie (C1, C2)",
  ({ name, signals }) => {
    const reports = { reportMode: "auto", reports: 0.3 } as const;
    if (only !== undefined) runSeed(Number(only), name, signals, kernel, reports);
    else for (let seed = 1; seed <= SEEDS; seed += 1) runSeed(seed, name, signals, kernel, reports);
  },
);

test.each(worlds)(
  "network $name, news of connections $signals: a follower that dies and goes on from a snapshot never lies (C1 to C4)",
  ({ name, signals }) => {
    if (only !== undefined) runSnapshotSeed(Number(only), name, signals);
    else for (let seed = 1; seed <= SEEDS / 4; seed += 1) runSnapshotSeed(seed, name, signals);
  },
);

/** One index stands for the dead one and the new one: the rank is cleared and filled from the copy. */
function runSnapshotSeed(seed: number, name: string, signals: WorldSettings["signals"]): void {
  const prng = new Prng(seed);
  const usual = settingsOf(prng, name);
  // An engine that keeps nothing, and falls silent before late news of the connection, is not known to have said anything.
  const ringMax = signals === "late" ? Math.max(usual.ringMax, 5) : usual.ringMax;
  const settings = { ...usual, signals, ringMax };
  const index = snapshotIndex;
  index.clearRank(RANK);
  const world = new StreamWorld(prng, settings, index, RANK);
  if (signals !== "late") {
    world.onStep = () => {
      checkTrust(world, snapshotSubject);
    };
  }
  try {
    world.runTraffic(prng.below(40));
    const snapshot = world.snapshot();
    const copy = index.copy(usedCopy);
    usedCopy = copy;
    world.runTraffic(prng.below(40));
    index.clearRank(RANK);
    if (snapshot.position !== null) refill(index, copy);
    world.crash(snapshot);
    expect(world.sync.trust, "unverified after the crash").toBe(
      snapshot.position === null ? "unknown" : "stale",
    );
    world.runTraffic(20);
    world.settle(1 + prng.below(3), SETTLE_MS);
    checkSettled(world, settings, snapshotSubject);
    expect(index.check()).toEqual([]);
  } catch (error) {
    const log = world.log.slice(-60).join("\n");
    throw new Error(`seed ${seed} of "${name}", ${signals}, snapshot: ${JSON.stringify(settings)}\n${log}`, {
      cause: error,
    });
  }
}

function refill(index: PrefixIndex, copy: IndexCopy): void {
  const source = new IndexCopyReader(copy);
  const target = index.importer();
  for (const { id, key } of source.contexts())
    for (const rows of source.rows(id)) target.add(key, rows, (slot) => slot === RANK);
  for (const parked of copy.parked) target.park(parked);
}

test("an index with too little room makes streams partial, and never wrong (C1)", () => {
  let world: StreamWorld | null = null;
  let evictions = 0;
  const subject = kernelSubject({
    prefixesPerContextMax: 20,
    onEviction: (reason, _blockCount, rankSlots) => {
      expect(rankSlots).toEqual([RANK]);
      evictions += 1;
      world!.sync.indexEvicted(reason);
    },
  });
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const prng = new Prng(seed);
    const settings: WorldSettings = { ...settingsOf(prng, "lossy"), hasReplay: true, ringMax: 100_000 };
    subject.writer.clearRank(RANK);
    const current = new StreamWorld(prng, settings, subject.writer, RANK);
    world = current;
    current.onStep = () => {
      checkTrust(current, subject);
    };
    current.runTraffic(60);
    current.settle(1, SETTLE_MS);
    expect(["exact", "partial"], `seed ${seed}`).toContain(current.sync.trust);
    expect(subject.check(), `seed ${seed}`).toEqual([]);
  }
  expect(evictions).toBeGreaterThan(SEEDS);
});
