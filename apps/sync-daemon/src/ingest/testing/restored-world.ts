/**
 * Engines' streams and the daemon's side of them without sockets or clock. So a daemon can be
 * snapshot, restored, and compared with its original. Everything is decided by a seed. Tests only.
 *
 *     Publisher ──messages, ring──▶ Side { parts of an index with a writer each, a WorkerSync per rank }
 *
 * A publisher's events need not match any pool. Stores begin anywhere in a prompt (so that they
 * wait for parents), removals name blocks that were never stored, and names are used twice. Two
 * sides that receive the same messages must hold the same.
 */
import {
  encodeEventBatch,
  encodeLiveFrames,
  EventBatchDecoder,
  type EvictionReason,
  type IndexCopy,
  INDEX_ROW_BYTES,
  IndexCopyReader,
  type KvEvent,
  type ParkedRecord,
  PrefixIndex,
  type PrefixIndexOptions,
  type Prng,
  RANK_SLOTS_MAX,
  RankHomes,
  REPORT_MODES,
  type ReportMode,
  type StreamPosition,
  WorkerSync,
} from "@kvsync/core";

import type { FollowedRank, SnapshotStream } from "../../engine/followed-rank.ts";
import type { Ingest } from "../ingest.ts";
import { adopt, takeOver } from "../rank-takeover.ts";

/** Blocks of the tree of prompts; block n has parent (n − 1) / 2. */
const BLOCKS = 63;
const BLOCK_SIZE = 4;
/** Kinds of contexts and salts: base, adapter by name, adapter by number, pairs of tokens, salted, another block size. */
const VARIANTS = 6;
const MEDIA = ["GPU", "GPU", "GPU", "CPU", "STORAGE", "REMOTE", "TAPE", null] as const;
const EVENTS_MAX = 4;
const MODEL = "world";

/** One engine's rank: what it says, and what of it it keeps for replay. */
export class Publisher {
  readonly rankSlot: number;
  readonly reportMode: ReportMode;
  readonly #random: Prng;
  readonly #ringMax: number;
  /** Engines with equal seeds call equal blocks alike. */
  #seed: number;
  #messages: Uint8Array[] = [];
  #timestamp = 1_757_500_000;

  constructor(rankSlot: number, random: Prng) {
    this.rankSlot = rankSlot;
    this.reportMode = random.pick(REPORT_MODES);
    this.#random = random;
    this.#ringMax = random.pick([3, 20, 10_000]);
    this.#seed = random.pick([0, 0, rankSlot + 1]);
  }

  /** Number of the last message; −1 before the first. */
  get last(): number {
    return this.#messages.length - 1;
  }

  /** Says something; returns its frames. */
  say(): Uint8Array[] {
    const random = this.#random;
    this.#timestamp += random.below(1000) / 1000;
    const events = Array.from({ length: 1 + random.below(EVENTS_MAX) }, () => this.#event());
    const batch = { timestampSeconds: this.#timestamp, events, dataParallelRank: 0 };
    let payload = encodeEventBatch(batch, "vllm-0.29");
    if (random.chance(0.01)) payload = payload.subarray(0, 11 + random.below(payload.length - 11));
    this.#messages.push(payload);
    return encodeLiveFrames("", this.last, payload);
  }

  /** Begins anew, with an empty pool and from number 0. */
  restart(): void {
    this.#messages = [];
    this.#seed += 1000;
    this.#timestamp += 5;
  }

  /** What it still has, from a number on. */
  kept(from: number): { readonly sequenceNumber: number; readonly payload: Uint8Array }[] {
    const first = Math.max(from, this.#messages.length - this.#ringMax, 0);
    return this.#messages.slice(first).map((payload, i) => ({ sequenceNumber: first + i, payload }));
  }

  #event(): KvEvent {
    const random = this.#random;
    if (random.chance(0.004)) return { type: "AllBlocksCleared" };
    const variant = random.below(VARIANTS);
    const path = pathTo(random.below(BLOCKS));
    const blocks = path.slice(random.chance(0.5) ? 0 : random.below(path.length));
    const medium = random.pick(MEDIA);
    const groupIdx = random.pick([null, 0, 0, 0, 1]);
    const blockHashes = blocks.map((block) => this.#name(variant, random.chance(0.02) ? block ^ 1 : block));
    if (random.chance(0.35)) return { type: "BlockRemoved", blockHashes, medium, groupIdx };
    return this.#stored({ variant, blocks, blockHashes, medium, groupIdx });
  }

  #stored(what: {
    readonly variant: number;
    readonly blocks: readonly number[];
    readonly blockHashes: readonly bigint[];
    readonly medium: string | null;
    readonly groupIdx: number | null;
  }): KvEvent {
    const { variant, blocks, blockHashes, medium, groupIdx } = what;
    const [first = 0] = blocks;
    const isPlaceholder = this.#random.chance(0.05);
    const blockSize = variant === 5 ? 2 * BLOCK_SIZE : BLOCK_SIZE;
    const tokens = blocks.flatMap((block) => tokensOf(block, blockSize));
    const pairs = tokens.map((token, i) => [token, tokens[i + 1] ?? 7] as const);
    return {
      type: "BlockStored",
      blockHashes,
      parentBlockHash: first === 0 || isPlaceholder ? null : this.#name(variant, (first - 1) >> 1),
      tokenIds: isPlaceholder ? [] : variant === 3 ? pairs : tokens,
      blockSize,
      medium,
      groupIdx,
      kvCacheSpecKind: groupIdx === 1 ? "sliding_window" : "full_attention",
      loraName: variant === 1 ? "adapter" : null,
      loraId: variant === 2 ? 7 : null,
      extraKeys: blocks.map((block) => keysOf(block, variant)),
    };
  }

  #name(variant: number, block: number): bigint {
    return (BigInt(this.#seed + 1) << 40n) | BigInt(variant << 16) | BigInt(block + 1);
  }
}

function pathTo(block: number): number[] {
  const path = [block];
  for (let at = block; at > 0; ) {
    at = (at - 1) >> 1;
    path.unshift(at);
  }
  return path;
}

function tokensOf(block: number, blockSize: number): number[] {
  return Array.from({ length: blockSize }, (_, i) => block + 70_000 * i);
}

function keysOf(block: number, variant: number): readonly (string | readonly (string | number)[])[] | null {
  if (variant === 1) return ["adapter"];
  if (variant === 4 && block === 0) return ["salt"];
  return block % 5 === 3 ? [["image", block]] : null;
}

/** Everything that can be seen of some ranks at one moment, as plain data. */
export interface Seen {
  /** Prefix hash, engine's name, holder and copies, by context. */
  readonly rows: readonly string[];
  /** Contexts of each rank, the one last stored to last. */
  readonly orders: readonly string[];
  readonly parked: readonly object[];
  readonly streams: readonly object[];
}

/** A daemon's ingest: an index of one part or several, each with its writer, and a stream for each rank. */
export class Side {
  readonly writers: readonly PrefixIndex[];
  readonly #streams = new Map<number, WorkerSync>();
  readonly #homes = RankHomes.create();
  #lastCopies: readonly IndexCopy[] = [];

  constructor(writerCount: number, options: PrefixIndexOptions) {
    this.writers = Array.from({ length: writerCount }, (_, number) =>
      PrefixIndex.create({ ...options, part: { number, count: writerCount } }),
    );
    for (let slot = 0; slot < RANK_SLOTS_MAX; slot++) this.#homes.place(slot, slot % writerCount);
  }

  /** Follows a rank, as an ingest thread does. */
  follow(
    publisher: Publisher,
    resumeFrom: StreamPosition | null = null,
    parked: readonly ParkedRecord[] = [],
  ): void {
    const { rankSlot } = publisher;
    const rank = { rankSlot, engineSlot: rankSlot, resumeFrom } as FollowedRank;
    takeOver(this.#ingestOf(publisher), this.#writerOf(rankSlot), rank, parked);
  }

  /** Of an ingest, only what is called. */
  #ingestOf({ rankSlot, reportMode }: Publisher): Ingest {
    const ingest = {
      follow: (rank: FollowedRank) => {
        const index = this.#writerOf(rankSlot);
        const decoder = new EventBatchDecoder(index.scratch);
        const resumeFrom = rank.resumeFrom ?? undefined;
        const settings = { rankSlot, model: MODEL, dpRank: 0, hasReplay: true, reportMode, resumeFrom };
        this.#streams.set(rankSlot, new WorkerSync(settings, { index, decoder }));
      },
      evicted: (reason: EvictionReason) => {
        this.stream(rankSlot).indexEvicted(reason);
      },
    };
    return ingest as unknown as Ingest;
  }

  /**
   * Hands a rank over: to another writer, with its rows, as an ingest thread does; or to a new stream of the same writer, as where
   * the other one refuses.
   *
   * @param publisher - of a followed rank.
   * @param to - number of the writer.
   * @param nowMs - the moment.
   * @param turn - runs between two pages of its rows.
   * @returns false where the stream cannot be handed over now: then nothing has changed.
   */
  async move(publisher: Publisher, to: number, nowMs: number, turn: () => void): Promise<boolean> {
    const { rankSlot } = publisher;
    const source = this.#writerOf(rankSlot);
    const position = this.stream(rankSlot).handOver(nowMs);
    if (position === null) return false;
    const parked = source.takeParked(rankSlot);
    const index = this.writers[to];
    if (index === undefined || index === source) {
      turn();
      this.follow(publisher, position, parked);
      return true;
    }
    const moved = structuredClone({ position, parked, rows: source.exportRank(rankSlot) });
    const limits = { contextCountMax: 256, prefixesPerContextMax: 1e6, memoryBytesMax: 2 ** 26 };
    let turns = 0;
    const between = (): Promise<void> => {
      if (turns++ === 0) turn();
      return Promise.resolve();
    };
    const home = {
      ingest: this.#ingestOf(publisher),
      index,
      homes: this.#homes,
      part: to,
      limits,
      turn: between,
    };
    const rank = { rankSlot, engineSlot: rankSlot } as FollowedRank;
    if (!(await adopt(home, rank, moved))) throw new Error("there is room");
    if (turns === 0) turn();
    source.clearRank(rankSlot);
    return true;
  }

  #writerOf(rankSlot: number): PrefixIndex {
    const index = this.writers[this.#homes.of(rankSlot)];
    if (index === undefined) throw new Error("a side has a writer");
    return index;
  }

  /** The stream of a followed rank. */
  stream(rankSlot: number): WorkerSync {
    const stream = this.#streams.get(rankSlot);
    if (stream === undefined) throw new Error(`rank ${rankSlot} is not followed`);
    return stream;
  }

  /**
   * Answers what a stream asks until it asks no more.
   *
   * @returns where its replays were wanted from.
   */
  answer(publisher: Publisher, nowMs: number): number[] {
    const sync = this.stream(publisher.rankSlot);
    const asked: number[] = [];
    for (;;) {
      if (sync.state === "paused") sync.tick(Math.max(nowMs, sync.nextTickMs));
      const action = sync.takeAction();
      if (action === null) return asked;
      if (action.kind === "abandon_replay") continue;
      asked.push(action.from);
      if (asked.length > 100) throw new Error("asks for ever");
      const { attempt } = action;
      const isWanted = publisher.kept(action.from).every(({ sequenceNumber, payload }) => {
        const [, number = payload] = encodeLiveFrames("", sequenceNumber, payload);
        return sync.replayMessage(attempt, [new Uint8Array(), number, payload], nowMs);
      });
      if (isWanted) sync.replayMessage(attempt, END, nowMs);
    }
  }

  /** What a snapshot is made of. Valid until the next. */
  copies(): readonly IndexCopy[] {
    this.#lastCopies = this.writers.map((writer, i) => writer.copy(this.#lastCopies[i] ?? null));
    return this.#lastCopies;
  }

  /** Where the streams stand that can be gone on from. */
  positions(publishers: readonly Publisher[], nowMs: number): SnapshotStream[] {
    return publishers.flatMap(({ rankSlot, reportMode }) => {
      const position = this.stream(rankSlot).position(nowMs);
      const who = {
        workerId: `w${rankSlot}`,
        model: MODEL,
        dpRank: 0,
        endpoint: `tcp://h:${rankSlot + 1}`,
        topic: "",
      };
      return position === null ? [] : [{ rankSlot, ...who, reportMode, position }];
    });
  }

  /** Everything that can be seen of these ranks, and of any other that the index holds something of. */
  seen(ranks: readonly number[], nowMs: number): Seen {
    const copies = this.copies();
    const readers = copies.map((copy) => {
      const reader = new IndexCopyReader(copy);
      return {
        reader,
        keys: new Map(reader.contexts().map(({ id, key }) => [id, JSON.stringify(key)] as const)),
      };
    });
    // Which slot a group has depends on those that were free when it was opened, and on the part.
    const names = new Map(
      ranks.flatMap((rank) =>
        readers.flatMap(({ reader }) =>
          reader.groups(rank).map(({ slot, index }) => [slot, `rank ${rank} group ${index}`] as const),
        ),
      ),
    );
    const holderName = (slot: number): string => names.get(slot) ?? `slot ${slot}`;
    const rows = readers.flatMap(({ reader, keys }) =>
      [...keys].flatMap(([id, key]) =>
        [...reader.rows(id)].flatMap((page) => rowTexts(page, holderName).map((text) => `${key} ${text}`)),
      ),
    );
    return {
      rows: rows.sort(),
      orders: ranks.map((rank) =>
        JSON.stringify(
          readers.flatMap(({ reader, keys }) => reader.rankContexts(rank).map((id) => keys.get(id))),
        ),
      ),
      // Each writer has its own order; that of a holder's stores is what counts.
      parked: copies
        .flatMap((copy) => copy.parked)
        .map((record) => ({ ...record, rankSlot: holderName(record.rankSlot) }))
        .sort((a, b) => (a.rankSlot < b.rankSlot ? -1 : a.rankSlot > b.rankSlot ? 1 : 0)),
      streams: ranks.map((rank) => {
        const sync = this.stream(rank);
        const { trust, lastSequenceNumber, historyFromSequenceNumber, lastBatchTimestampSeconds } = sync;
        const position = withoutSlots(sync.position(nowMs), holderName);
        return { trust, lastSequenceNumber, historyFromSequenceNumber, lastBatchTimestampSeconds, position };
      }),
    };
  }
}

/** A position with names in place of the groups' slots. */
export function withoutSlots(
  position: StreamPosition | null,
  holderName: (slot: number) => string,
): object | null {
  if (position === null) return null;
  const { groups, uncertainCopies } = position.applier;
  const shapes = groups.groups.map((group) => ({ ...group, slot: null }));
  const copies = uncertainCopies.map(([slot, ...name]) => [holderName(slot), ...name]);
  const applier = { ...position.applier, groups: { ...groups, groups: shapes }, uncertainCopies: copies };
  return { ...position, applier };
}

const END = [new Uint8Array(), new Uint8Array(8).fill(0xff), new Uint8Array()];

function rowTexts(page: Uint8Array, holderName: (slot: number) => string): string[] {
  const bytes = Buffer.from(page);
  return Array.from({ length: bytes.length / INDEX_ROW_BYTES }, (_, i) => {
    const at = i * INDEX_ROW_BYTES;
    const [slot, tier, copies] = [
      bytes.readUInt16LE(at + 16),
      bytes.readUInt16LE(at + 18),
      bytes.readUInt32LE(at + 20),
    ];
    return `${bytes.toString("hex", at, at + 16)} ${holderName(slot)} tier ${tier} × ${copies}`;
  });
}
