/**
 * A walk over the table of the rule behind `exact`. Each row's cause is produced through
 * WorkerSync, as an engine and a network would produce it. Trust, reason and counter are compared
 * with the row (T1 to T4 of trust-rule.ts). Rows of the program that follows streams are tested
 * there (sync-daemon: stream-board.test.ts, stall.e2e.test.ts).
 */
import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import type { IndexWriter, StoreOutcome } from "../prefix-index/contract.ts";
import { IndexError } from "../prefix-index/index-error.ts";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import type { Dialect } from "../wire/dialect.ts";
import { EventBatchDecoder, type FieldOwner } from "../wire/event-batch-decoder.ts";
import { encodeEventBatch } from "../wire/event-batch-encoder.ts";
import type { BlockStored, KvEvent } from "../wire/events.ts";
import { encodeLiveFrames, encodeReplayEnd, encodeReplayReply } from "../wire/message.ts";
import type { WireErrorCode } from "../wire/wire-error.ts";
import { DEFAULT_WIRE_LIMITS } from "../wire/wire-limits.ts";
import { LEDGER_NAMES_MAX } from "./copy-ledger.ts";
import { createSyncCounters, type SyncAction } from "./sync-report.ts";
import { DEFAULT_SYNC_LIMITS, type SyncSettings } from "./sync-settings.ts";
import {
  EVICTIONS,
  type EventDropReason,
  FAULT_CODES,
  FAULT_COSTS,
  FAULTS,
  type FaultPlace,
  type MessageDropReason,
  type StreamCause,
  TRUST_REASON_NAMES,
  TRUST_REASONS,
  TRUST_RULE,
  type TrustReason,
} from "./trust-rule.ts";
import { WorkerSync } from "./worker-sync.ts";

const RANK = 0;
const T0 = 1_757_500_000;
const naive = await NaivePrefixIndex.create();

function stored(block: number, fields: Partial<BlockStored> = {}): KvEvent {
  return {
    type: "BlockStored",
    blockHashes: [BigInt(block)],
    parentBlockHash: null,
    tokenIds: [block, block],
    blockSize: 2,
    medium: "GPU",
    ...fields,
  };
}

function removed(block: number, fields: Partial<KvEvent> = {}): KvEvent {
  return { type: "BlockRemoved", blockHashes: [BigInt(block)], medium: "GPU", ...fields } as KvEvent;
}

/** A stream and the hands of its engine and transport. `cause` marks the moment that a row is about. */
class Walk {
  nowMs = 1000;
  next = 0;
  readonly sync: WorkerSync;
  /** When the cause happened, and what held before. */
  causedAtMs = this.nowMs;
  before: TrustReason | null = null;
  countersBefore = createSyncCounters();

  /** Numbers of messages that are set aside. */
  readonly setAside = new Set<number>();

  constructor(settings: Partial<SyncSettings> = {}, index: IndexWriter = naive) {
    naive.clearRank(RANK);
    this.sync = new WorkerSync(
      {
        rankSlot: RANK,
        model: "m",
        dpRank: 0,
        hasReplay: true,
        startedAtMs: this.nowMs,
        dropsLastBlock: false,
        ...settings,
      },
      {
        index,
        decoder: new EventBatchDecoder(index.scratch),
        guard: { admits: (sequenceNumber) => !this.setAside.has(sequenceNumber) },
      },
    );
  }

  /** Connected, with a history of one message that stores block 0: exact. */
  static exact(settings: Partial<SyncSettings> = {}, index?: IndexWriter): Walk {
    const walk = new Walk(settings, index);
    walk.sync.connected(walk.nowMs);
    if (settings.hasReplay === false) walk.live([stored(0)]);
    else walk.answer([0]);
    expect([walk.sync.trust, walk.sync.trustReason]).toEqual(["exact", null]);
    return walk;
  }

  /** Likewise, and the engine's history began at message 5: partial. */
  static truncated(): Walk {
    const walk = new Walk();
    walk.sync.connected(walk.nowMs);
    walk.answer([5]);
    expect(walk.sync.trustReason).toBe("history_incomplete");
    return walk;
  }

  /** What the row is about happens in `act`. */
  cause(act: () => void): this {
    this.before = this.sync.trustReason;
    this.countersBefore = structuredClone(this.sync.counters);
    this.nowMs += 1;
    act();
    this.causedAtMs = this.nowMs;
    return this;
  }

  live(
    events: readonly KvEvent[],
    sequenceNumber = this.next,
    dataParallelRank = 0,
    dialect: Dialect = "vllm-0.29",
  ): void {
    const batch = { timestampSeconds: T0 + sequenceNumber, events, dataParallelRank };
    this.payload(encodeEventBatch(batch, dialect), sequenceNumber);
  }

  payload(payload: Uint8Array, sequenceNumber = this.next): void {
    this.next = sequenceNumber + 1;
    this.sync.liveMessage(encodeLiveFrames("", sequenceNumber, payload), this.nowMs);
  }

  /** One event of any shape. */
  raw(event: unknown, ...slots: readonly unknown[]): void {
    this.payload(encode([T0 + this.next + 0.5, [event], 0, ...slots]));
  }

  request(): Extract<SyncAction, { kind: "request_replay" }> {
    for (let action = this.sync.takeAction(); action !== null; action = this.sync.takeAction()) {
      if (action.kind === "request_replay") return action;
    }
    throw new Error("no request");
  }

  reply(attempt: number, sequenceNumber: number, life = 0): void {
    const batch = {
      timestampSeconds: T0 + 1000 * life + sequenceNumber,
      events: [stored(sequenceNumber)],
      dataParallelRank: 0,
    };
    const payload = encodeEventBatch(batch, "vllm-0.29");
    const identity = new Uint8Array(0);
    const frames = encodeReplayReply({ identity, shape: "plain", topic: "", sequenceNumber, payload });
    this.next = Math.max(this.next, sequenceNumber + 1);
    this.sync.replayMessage(attempt, frames.slice(1), this.nowMs);
  }

  /** Answers the pending request with these of a publisher's messages and END. */
  answer(sequenceNumbers: readonly number[], life = 0): void {
    const { attempt } = this.request();
    for (const sequenceNumber of sequenceNumbers) this.reply(attempt, sequenceNumber, life);
    this.sync.replayMessage(attempt, encodeReplayEnd(new Uint8Array(0), "topic").slice(1), this.nowMs);
  }

  tick(): void {
    this.nowMs = this.sync.nextTickMs;
    this.sync.tick(this.nowMs);
  }

  /** The engine clears its pool. */
  cleared(): this {
    this.live([{ type: "AllBlocksCleared" }]);
    return this;
  }

  /** The probe at hand fails. */
  failProbe(): void {
    this.tick();
    this.sync.replayFailed(this.request().attempt, "idle", this.nowMs);
  }
}

/** An index whose stores all end alike. */
function storing(storeBlocks: () => StoreOutcome): IndexWriter {
  return {
    scratch: naive.scratch,
    openContext: (key) => naive.openContext(key),
    storeBlocks,
    storeKnownBlocks: (...call) => naive.storeKnownBlocks(...call),
    removeBlocks: (...call) => naive.removeBlocks(...call),
    openMainGroup: (rankSlot, blockSize) => {
      naive.openMainGroup(rankSlot, blockSize);
    },
    openGroup: (...call) => naive.openGroup(...call),
    storeGroupBlocks: (...call) => naive.storeGroupBlocks(...call),
    clearRank: (rankSlot) => {
      naive.clearRank(rankSlot);
    },
    hasBlock: (...call) => naive.hasBlock(...call),
    hasParked: (rankSlot) => naive.hasParked(rankSlot),
    noteHeld: (...call) => {
      naive.noteHeld(...call);
    },
    attachedRenames: [],
    hasGivenUpParent: () => false,
    notes: naive.notes,
    hasNotes: false,
    digestBytes: (...call) => {
      naive.digestBytes(...call);
    },
  };
}

/** An index that is full, or says no, from the second store on. */
function refusingLater(refuse: () => StoreOutcome): Walk {
  let stores = 0;
  return Walk.exact(
    {},
    storing(() => ((stores += 1) === 1 ? "stored" : refuse())),
  );
}

function event(...events: readonly KvEvent[]): Walk {
  const walk = Walk.exact();
  return walk.cause(() => {
    walk.live(events);
  });
}

const EVENTS: Record<EventDropReason, () => Walk> = {
  misaligned_tokens: () => event(stored(1, { tokenIds: [1] })),
  unresolved_placeholder: () => event(stored(1, { tokenIds: [], blockSize: 0, medium: "CPU" })),
  repeated_block: () => event(stored(0, { groupIdx: 0 })),
  copies_untracked: () => {
    const walk = Walk.exact({}, PrefixIndex.create());
    const names = Array.from({ length: LEDGER_NAMES_MAX }, (_, i) => BigInt(i + 1));
    const tokenIds = names.flatMap((name) => [Number(name), Number(name)]);
    const all = stored(0, { blockHashes: names, tokenIds, groupIdx: 0 });
    walk.live([all, all]);
    return walk.cause(() => {
      walk.live([stored(0, { groupIdx: 0 })]);
    });
  },
  other_block_size: () => event(stored(1, { blockSize: 1, tokenIds: [1], parentBlockHash: 0n })),
  unit_size_unknown: () => event(stored(0, { tokenIds: [], blockSize: 0, medium: "CPU" })),
  content_names: () => event(stored(0, { tokenIds: [5, 5] })),
  ambiguous_name: () => {
    const walk = Walk.exact();
    walk.live([stored(1), stored(1, { loraName: "x" })]);
    return walk.cause(() => {
      walk.live([removed(1)]);
    });
  },
  no_blocks: () => event(stored(1, { blockHashes: [], tokenIds: [] })),
  other_attention_kind: () => event(stored(1, { groupIdx: 1, kvCacheSpecKind: "cross_attention" })),
  unknown_kind: () => event(stored(1, { groupIdx: 1, kvCacheSpecKind: "something_new" })),
  unannounced_window: () => {
    const walk = new Walk({ hasReplay: false });
    walk.sync.connected(walk.nowMs);
    walk.live([stored(1), stored(2, { parentBlockHash: 1n })], 0, 0, "vllm-0.18");
    return walk.cause(() => {
      walk.live([removed(1)], walk.next, 0, "vllm-0.18");
    });
  },
  dropped_block: () => {
    const walk = Walk.exact({ dropsLastBlock: true });
    return walk.cause(() => {
      walk.live([stored(1, { groupIdx: 1, kvCacheSpecKind: "mamba" })]);
    });
  },
  group_limit: () =>
    event(...Array.from({ length: 16 }, (_, i) => stored(1, { groupIdx: 1 + i, kvCacheSpecKind: "mamba" }))),
  group_misaligned: () =>
    event(stored(1, { groupIdx: 1, kvCacheSpecKind: "mamba", blockSize: 3, tokenIds: [1, 1, 1] })),
  partial_block: () =>
    event(
      stored(1, { groupIdx: 1, kvCacheSpecKind: "mamba", blockSize: 4, tokenIds: [1, 1, 1, 1] }),
      stored(1, { groupIdx: 1, kvCacheSpecKind: "mamba" }),
    ),
  unplaced_block: () => event(stored(1, { groupIdx: 1, kvCacheSpecKind: "mamba", tokenIds: [1, 1, 1, 1] })),
  unknown_group: () => {
    const walk = Walk.truncated();
    walk.live([stored(1, { groupIdx: 0 })]);
    return walk.cause(() => {
      walk.live([removed(1, { groupIdx: 7 })]);
    });
  },
  unannounced_group: () => event(stored(1, { groupIdx: 0 }), removed(1, { groupIdx: 7 })),
  unknown_medium: () => event(stored(1, { medium: "TAPE" })),
  remote_locality: () => event(stored(1, { locality: "REMOTE" })),
  unknown_locality: () => event(stored(1, { locality: "NEARBY" })),
  never_indexed: () => {
    const walk = Walk.exact();
    walk.live([stored(1, { medium: "TAPE" })]);
    return walk.cause(() => {
      walk.live([removed(1, { medium: "TAPE" })]);
    });
  },
  unplaced_removal: () => event(removed(0, { medium: "TAPE" })),
  unknown_block: () => {
    const walk = Walk.truncated();
    return walk.cause(() => {
      walk.live([removed(1)]);
    });
  },
  unannounced_block: () => event(removed(1)),
  park_full: () => oneMoreStore(refusingLater(() => "rejected_park_full")),
  index_memory_limit: () => oneMoreStore(refusingLater(() => "rejected_memory_limit")),
  too_many_blocks: () => oneMoreStore(refusingLater(() => "rejected_too_many_blocks")),
  too_many_block_sizes: () =>
    event(
      ...[1, 3, 4, 5].map((size) =>
        stored(9, { blockSize: size, tokenIds: Array.from({ length: size }, () => 1) }),
      ),
    ),
  index_refused: () =>
    oneMoreStore(
      refusingLater(() => {
        throw new IndexError({ code: "context_name_too_long", bytes: 9, bytesMax: 8 }, "refused");
      }),
    ),
};

function oneMoreStore(walk: Walk): Walk {
  return walk.cause(() => {
    walk.live([stored(1)]);
  });
}

const MESSAGES: Record<MessageDropReason, () => Walk> = {
  duplicate: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      walk.live([stored(0)], 0);
    });
  },
  covered_by_replay: () => {
    const walk = Walk.exact();
    walk.sync.disconnected(walk.nowMs);
    walk.live([stored(1)]);
    return walk.cause(() => {
      walk.sync.connected(walk.nowMs);
      walk.answer([0, 1]);
      walk.before = null;
    });
  },
  hold_full: () => {
    const walk = Walk.exact({ limits: { heldMessagesMax: 1 } });
    walk.sync.disconnected(walk.nowMs);
    walk.sync.connected(walk.nowMs);
    const { attempt } = walk.request();
    return walk.cause(() => {
      walk.live([stored(1)]);
      walk.live([stored(2)]);
      walk.reply(attempt, 0);
      walk.sync.replayMessage(attempt, encodeReplayEnd(new Uint8Array(0), "topic").slice(1), walk.nowMs);
    });
  },
  late_replay: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      walk.reply(77, 0);
    });
  },
  before_restart: () => {
    const walk = Walk.exact();
    walk.sync.disconnected(walk.nowMs);
    walk.sync.connected(walk.nowMs);
    const { attempt } = walk.request();
    walk.live([stored(1)]);
    return walk.cause(() => {
      walk.reply(attempt, 0, 1);
      walk.answer([0], 1);
      walk.before = null;
    });
  },
  set_aside: () => {
    const walk = Walk.exact();
    walk.setAside.add(1);
    return walk.cause(() => {
      walk.live([stored(1)]);
    });
  },
};

/** Bytes for each code at each place that it can stand, as an event or as the frames of a message. */
const BROKEN_EVENTS: Partial<Record<WireErrorCode, Partial<Record<FaultPlace, unknown>>>> = {
  wrong_type: {
    store: { type: "BlockStored", block_hashes: "x" },
    removal: { type: "BlockRemoved", block_hashes: "x" },
    untyped: 7,
  },
  wrong_length: { store: ["BlockStored", []], removal: ["BlockRemoved"], untyped: [] },
  out_of_range: {
    store: { type: "BlockStored", block_hashes: [new Uint8Array(1)] },
    removal: { type: "BlockRemoved", block_hashes: [new Uint8Array(1)] },
  },
  limit_exceeded: {
    store: { type: "BlockStored", block_hashes: [1], medium: "x".repeat(2000) },
    removal: { type: "BlockRemoved", block_hashes: [1], medium: "x".repeat(2000) },
  },
  too_deep: { store: { type: "BlockStored", block_hashes: [1], extra_keys: [[[[[[1]]]]]] } },
  missing_field: {
    store: { type: "BlockStored", block_hashes: [1] },
    removal: { type: "BlockRemoved" },
    untyped: { block_hashes: [1] },
  },
  unknown_event_type: { unknown_type: { type: "BlockMoved" } },
  bigram_gap: {
    store: [
      "BlockStored",
      [1],
      null,
      [
        [1, 2],
        [3, 4],
      ],
      2,
      null,
    ],
  },
  lookahead_misaligned: {
    store: {
      type: "BlockStored",
      block_hashes: [1],
      token_ids: [1, 1],
      block_size: 2,
      lookahead_token_ids: [],
    },
  },
  extra_keys_misaligned: {
    store: {
      type: "BlockStored",
      block_hashes: [1],
      token_ids: [1, 1],
      block_size: 2,
      extra_keys: [["a"], ["b"]],
    },
  },
};

/** Msgpack that no encoder writes: a map with one key twice, and text that is no UTF-8. */
function twice(type: string): Uint8Array {
  return batchOf(Uint8Array.from([0x82, ...text("type"), ...text(type), ...text("type"), ...text(type)]));
}

function noUtf8(type: string): Uint8Array {
  return batchOf(Uint8Array.from([0x82, ...text("type"), ...text(type), ...text("medium"), 0xa1, 0xff]));
}

function text(letters: string): number[] {
  return [0xa0 + letters.length, ...new TextEncoder().encode(letters)];
}

function batchOf(eventBytes: Uint8Array): Uint8Array {
  return Uint8Array.from([0x93, ...encode(T0 + 1.5), 0x91, ...eventBytes, 0x00]);
}

const good = (): Uint8Array => encode([T0 + 1.5, [], 0]);

const BROKEN_PAYLOADS: Partial<Record<WireErrorCode, Partial<Record<FaultPlace, () => Uint8Array>>>> = {
  truncated: { message: () => good().subarray(0, -1) },
  reserved_byte: { message: () => Uint8Array.from([0x92, ...encode(T0 + 1.5), 0x91, 0xc1]) },
  trailing_bytes: { message: () => Uint8Array.from([...good(), 0]) },
  payload_too_large: { message: () => new Uint8Array(DEFAULT_WIRE_LIMITS.payloadBytesMax + 1) },
  too_many_faults: {
    message: () => encode([T0 + 1.5, new Array(DEFAULT_WIRE_LIMITS.faultsMax + 1).fill(["BlockStored"]), 0]),
  },
  wrong_type: { message: () => encode("a batch") },
  wrong_length: { message: () => encode([T0]) },
  out_of_range: { message: () => encode([Number.NaN, [], 0]) },
  limit_exceeded: {
    message: () => encode([T0 + 1.5, new Array(DEFAULT_WIRE_LIMITS.eventsMax + 1).fill(0), 0]),
  },
  missing_field: { message: () => encode({ ts: T0 + 1.5 }) },
  invalid_utf8: { store: () => noUtf8("BlockStored"), removal: () => noUtf8("BlockRemoved") },
  duplicate_key: {
    store: () => twice("BlockStored"),
    removal: () => twice("BlockRemoved"),
    clear: () => twice("AllBlocksCleared"),
    message: () =>
      Uint8Array.from([0x82, ...text("ts"), ...encode(T0 + 1.5), ...text("ts"), ...encode(T0 + 1.5)]),
  },
};

const LIVE_FRAMES: Partial<Record<WireErrorCode, readonly Uint8Array[]>> = {
  wrong_frame_count: [new Uint8Array(0)],
  wrong_sequence_length: [new Uint8Array(0), new Uint8Array(3), good()],
  sequence_number_out_of_range: [new Uint8Array(0), new Uint8Array(8).fill(0xff), good()],
  empty_payload: [new Uint8Array(0), new Uint8Array(8), new Uint8Array(0)],
};

const REPLAY_FRAMES: Partial<Record<WireErrorCode, readonly Uint8Array[]>> = {
  wrong_frame_count: [new Uint8Array(0)],
  missing_delimiter: [new Uint8Array(1), new Uint8Array(0), new Uint8Array(8), good()],
  wrong_sequence_length: [new Uint8Array(0), new Uint8Array(3), good()],
  sequence_number_out_of_range: [new Uint8Array(0), Uint8Array.from([0xff, 0, 0, 0, 0, 0, 0, 0]), good()],
  empty_payload: [new Uint8Array(0), new Uint8Array(8), new Uint8Array(0)],
};

/** Produces one code at one place; undefined where this test does not know how. */
function fault(code: WireErrorCode, place: FaultPlace): Walk | undefined {
  const walk = Walk.exact();
  if (place === "live_frames") {
    const frames = LIVE_FRAMES[code];
    return (
      frames &&
      walk.cause(() => {
        walk.sync.liveMessage(frames, walk.nowMs);
      })
    );
  }
  if (place === "replay_frames") {
    const frames = REPLAY_FRAMES[code];
    if (frames === undefined) return undefined;
    walk.tick();
    const { attempt } = walk.request();
    return walk.cause(() => {
      walk.sync.replayMessage(attempt, frames, walk.nowMs);
    });
  }
  const payload = BROKEN_PAYLOADS[code]?.[place];
  const broken = BROKEN_EVENTS[code]?.[place];
  if (payload === undefined && broken === undefined) return undefined;
  return walk.cause(() => {
    if (payload === undefined) walk.raw(broken);
    else walk.payload(payload());
  });
}

const FIELDS: Record<FieldOwner, () => Walk> = {
  BlockStored: () =>
    rawEvent({
      type: "BlockStored",
      block_hashes: [1],
      token_ids: [1, 1],
      block_size: 2,
      quantization: "fp4",
    }),
  BlockRemoved: () => rawEvent({ type: "BlockRemoved", block_hashes: [0], half: "upper" }),
  AllBlocksCleared: () => rawEvent({ type: "AllBlocksCleared", medium: "GPU" }),
  batch: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      walk.raw(["BlockRemoved", [0]], "a fourth slot");
    });
  },
};

function rawEvent(raw: unknown): Walk {
  const walk = Walk.exact();
  return walk.cause(() => {
    walk.raw(raw);
  });
}

const STREAMS: Record<StreamCause, () => Walk> = {
  not_connected: () => new Walk(),
  first_history: () => {
    const walk = new Walk();
    return walk.cause(() => {
      walk.sync.connected(walk.nowMs);
    });
  },
  engine_restarted: () => {
    const walk = Walk.exact();
    walk.sync.disconnected(walk.nowMs);
    walk.sync.connected(walk.nowMs);
    const { attempt } = walk.request();
    return walk.cause(() => {
      walk.reply(attempt, 0, 1);
    });
  },
  history_lost: () => {
    const walk = new Walk();
    walk.sync.connected(walk.nowMs);
    const { attempt } = walk.request();
    return walk.cause(() => {
      walk.reply(attempt, 5);
    });
  },
  rebuilding: () => {
    const walk = Walk.exact();
    walk.raw({ type: "BlockMoved" });
    return walk.cause(() => {
      walk.tick();
      let { attempt, from } = walk.request();
      while (from <= 1) {
        walk.sync.replayFailed(attempt, "idle", walk.nowMs);
        walk.tick();
        ({ attempt, from } = walk.request());
      }
      walk.reply(attempt, from);
    });
  },
  history_incomplete: () => {
    const walk = new Walk();
    return walk.cause(() => {
      walk.sync.connected(walk.nowMs);
      walk.answer([5]);
    });
  },
  no_replay: () => {
    const walk = new Walk({ hasReplay: false });
    return walk.cause(() => {
      walk.sync.connected(walk.nowMs);
    });
  },
  resumed: () => {
    const position = Walk.exact().sync.position(0) ?? undefined;
    return new Walk({ resumeFrom: position });
  },
  disconnected: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      walk.sync.disconnected(walk.nowMs);
    });
  },
  verifying: () => {
    const walk = Walk.exact();
    walk.sync.disconnected(walk.nowMs);
    return walk.cause(() => {
      walk.sync.connected(walk.nowMs);
    });
  },
  gap: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      walk.live([stored(9)], 9);
    });
  },
  replay_paused: () => {
    const walk = Walk.exact();
    walk.live([stored(9)], 9);
    return walk.cause(() => {
      for (let i = 0; i < DEFAULT_SYNC_LIMITS.failedAttemptsMax; i += 1) {
        walk.sync.replayFailed(walk.request().attempt, "idle", walk.nowMs);
      }
    });
  },
  queue_loss: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      walk.sync.messagesLost(walk.nowMs);
    });
  },
  probes_failed: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      for (let i = 0; i < DEFAULT_SYNC_LIMITS.failedProbesMax; i += 1) walk.failProbe();
    });
  },
  ambiguous_clear: () => {
    const walk = Walk.exact();
    walk.live([stored(1, { medium: "CPU" })]);
    return walk.cause(() => {
      walk.live([{ type: "AllBlocksCleared" }]);
    });
  },
  parked_store: () => event(stored(1, { parentBlockHash: 99n })),
  uncertain_copy: () => {
    const walk = Walk.exact();
    walk.live([stored(0, { groupIdx: 0 })]);
    return walk.cause(() => {
      walk.live([removed(0)]);
    });
  },
  unknown_drafter: () => {
    const walk = Walk.exact({ dropsLastBlock: undefined });
    return walk.cause(() => {
      walk.live([stored(1, { groupIdx: 1, kvCacheSpecKind: "mamba" })]);
    });
  },
  unseen_groups: () => {
    const walk = new Walk({ hasReplay: false });
    walk.sync.connected(walk.nowMs);
    walk.live([]);
    return walk.cause(() => {
      const full = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
      walk.live([stored(1, full)], 1, 0, "vllm-0.33");
    });
  },
  other_dp_rank: () => {
    const walk = new Walk({ hasReplay: false });
    walk.sync.connected(walk.nowMs);
    walk.live([stored(0)], 0, 3);
    return walk.cause(() => {
      walk.live([stored(1)], 1, 3);
    });
  },
  mixed_dp_ranks: () => {
    const walk = Walk.exact();
    return walk.cause(() => {
      walk.live([stored(1)], 1, 3);
    });
  },
};

const WALKS = new Map<string, () => Walk>([
  ...rowsOf("event", EVENTS),
  ...rowsOf("message", MESSAGES),
  ...rowsOf("field", FIELDS),
  ...rowsOf("stream", STREAMS),
  ...Object.keys(EVICTIONS).map((reason): [string, () => Walk] => [
    `eviction.${reason}`,
    () => {
      const walk = Walk.exact();
      // Something waited below the device: what is given up may come to have its parent.
      const below = { medium: "CPU", parentBlockHash: 99n };
      walk.live([stored(1, below), removed(1, { medium: "CPU" })]);
      return walk.cause(() => {
        walk.sync.tick(walk.nowMs);
        walk.sync.indexEvicted(reason as keyof typeof EVICTIONS);
      });
    },
  ]),
]);

function rowsOf(family: string, walks: Readonly<Record<string, () => Walk>>): [string, () => Walk][] {
  return Object.entries(walks).map(([key, walk]) => [`${family}.${key}`, walk]);
}

/** A counter by its path; undefined for what is none of a stream's. */
function counterAt(counters: object, path: string): number | undefined {
  const value = path
    .split(".")
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], counters);
  return typeof value === "number" ? value : undefined;
}

function checkReason(walk: Walk, reason: TrustReason | null): void {
  const { sync, before } = walk;
  expect(sync.trustReason).toBe(reason ?? before);
  expect(sync.trust).toBe(sync.trustReason === null ? "exact" : TRUST_REASONS[sync.trustReason].trust);
  if (reason !== null) expect(sync.trustSinceMs).toBe(walk.causedAtMs);
}

describe("the table of the rule", () => {
  test("has one trust for each reason, a cause for each, and an argument for each cause without one (T1, T3)", () => {
    const caused = new Set(TRUST_RULE.map(({ reason }) => reason));
    expect(TRUST_REASON_NAMES.filter((reason) => !caused.has(reason))).toEqual([]);
    expect(new Set(TRUST_RULE.map(({ id }) => id)).size).toBe(TRUST_RULE.length);
    for (const { says } of TRUST_RULE) expect(says).toMatch(/\.$/);
  });

  test("has a walk for each row of a stream, and no walk without a row (T2)", () => {
    const rows = TRUST_RULE.map(({ id }) => id).filter((id) => !/^(owner|fault)\./.test(id));
    expect([...WALKS.keys()].sort()).toEqual(rows.sort());
  });

  test.each(TRUST_RULE.filter(({ id }) => WALKS.has(id)))("$id", ({ id, reason, counter }) => {
    const walk = WALKS.get(id)!();
    checkReason(walk, reason);
    const before = counterAt(walk.countersBefore, counter);
    // A metric of the daemon stands where no counter of the stream does.
    if (before === undefined) expect(counter).toMatch(/^kv_/);
    else expect(counterAt(walk.sync.counters, counter)).toBeGreaterThan(before);
  });

  const lasting = TRUST_RULE.filter(({ id, reason }) => {
    const isOfEvents = /^(event|field)\.|^stream\.mixed_dp_ranks/.test(id);
    return isOfEvents && reason !== null && TRUST_REASONS[reason].kind !== "condition";
  });

  test.each(lasting)("a cleared pool ends $id, unless it is a trait of the engine (T4)", ({ id, reason }) => {
    const { sync, next } = WALKS.get(id)!().cleared();
    expect(sync.lastSequenceNumber).toBe(next - 1);
    const isTrait = TRUST_REASONS[reason!].kind === "trait";
    // Copies beyond the device may be left.
    expect([isTrait ? reason : null, "ambiguous_clear"]).toContain(sync.trustReason);
  });

  test("names every code of the wire, and each place is one of the table", () => {
    expect(Object.keys(FAULT_COSTS).sort()).toEqual([...FAULT_CODES].sort());
    expect(new Set(Object.values(FAULT_COSTS).flat())).toEqual(new Set(Object.keys(FAULTS)));
  });

  test.each(FAULT_CODES.flatMap((code) => FAULT_COSTS[code].map((place) => ({ code, place }))))(
    "fault $code in $place",
    ({ code, place }) => {
      const walk = fault(code, place);
      if (walk === undefined) throw new Error("no walk");
      checkReason(walk, FAULTS[place].reason);
      expect(walk.sync.counters.faults[code]).toBe(
        walk.countersBefore.faults[code] + (code === "too_many_faults" ? 1 : 1),
      );
    },
  );
});
