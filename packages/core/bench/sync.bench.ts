/**
 * The cost of following a stream: from live frames to the index (parsing, order, fence, decoding,
 * hashing, storing), next to the decoding and storing alone. It also measures the repair of a gap
 * in an index of a million blocks, from the arrival of the last reply's frames. The network is not
 * counted (architecture: from gap to exact within 250 ms, network included).
 *
 * Messages are seeded and have the sizes of real ones: prefill chunks, decode steps, the steady mixture of a removal per store.
 * Rounds of the two are interleaved, so that a busy machine is busy for both; the least of the rounds counts. Run: npx pnpm@12.21.0
 * --filter @kvsync/core bench
 */
import { cpus } from "node:os";
import { argv, execPath, version } from "node:process";
import {
  encodeEventBatch,
  encodeLiveFrames,
  encodeReplayEnd,
  encodeReplayReply,
  EventBatchDecoder,
  type EventSink,
  type KvEvent,
  PrefixIndex,
  Prng,
  WorkerSync,
} from "@kvsync/core";

const SEED = 20260922;
const BLOCK_SIZE = 16;
const VOCABULARY_SIZE = 152_064;
const ROUNDS = 9;
const MODEL = "bench";
const SYNC_RANK = 0;
const DIRECT_RANK = 1;
const NO_IDENTITY = new Uint8Array(0);

const prng = new Prng(SEED);
const index = PrefixIndex.create();
const decoder = new EventBatchDecoder(index.scratch);
let timestampSeconds = 1_757_500_000;

/** Decodes and stores, and nothing else: what cannot be saved. */
const direct: EventSink = {
  onBlockStored(event) {
    const contextId = index.openContext(CONTEXT);
    const { blockCount, hasParent, parentLow, parentHigh } = event;
    index.storeBlocks(contextId, DIRECT_RANK, 0, blockCount, hasParent, parentLow, parentHigh, false);
  },
  onBlockRemoved(event) {
    index.removeBlocks(DIRECT_RANK, 0, event.blockCount);
  },
  onAllBlocksCleared() {
    index.clearRank(DIRECT_RANK);
  },
  onFault({ error }) {
    throw error;
  },
  onUnknownField(owner, name) {
    throw new Error(`${owner} ${name}`);
  },
};
const CONTEXT = { model: MODEL, loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 };

function randomHash(): bigint {
  return (BigInt(prng.nextU32()) << 32n) | BigInt(prng.nextU32());
}

function store(blockHashes: readonly bigint[], parentBlockHash: bigint | null = null): KvEvent {
  return {
    type: "BlockStored",
    blockHashes,
    parentBlockHash,
    tokenIds: Uint32Array.from({ length: blockHashes.length * BLOCK_SIZE }, () =>
      prng.below(VOCABULARY_SIZE),
    ),
    blockSize: BLOCK_SIZE,
    medium: "GPU",
    extraKeys: blockHashes.map(() => null),
    groupIdx: 0,
    kvCacheSpecKind: "full_attention",
  };
}

function hashes(count: number): bigint[] {
  return Array.from({ length: count }, randomHash);
}

function payloadOf(events: readonly KvEvent[]): Uint8Array {
  timestampSeconds += 0.05;
  return encodeEventBatch({ timestampSeconds, events, dataParallelRank: 0 }, "vllm-0.29");
}

/** A batch that stores some blocks and removes as many of those stored before. */
function steady(count: number): () => KvEvent[] {
  let held: bigint[] = [];
  return () => {
    const removed = held.map(
      (hash): KvEvent => ({ type: "BlockRemoved", blockHashes: [hash], medium: "GPU", groupIdx: 0 }),
    );
    held = hashes(count);
    return [...removed, ...held.map((hash) => store([hash]))];
  };
}

/** Of CPU, of all threads: other programs do not count. */
function milliseconds(run: () => void): number {
  const began = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1000;
}

function live(name: string, messageCount: number, blocksPerMessage: number, make: () => KvEvent[]): void {
  const payloads = Array.from({ length: messageCount }, () => payloadOf(make()));
  const frames = payloads.map((payload, sequenceNumber) => encodeLiveFrames("kv", sequenceNumber, payload));
  const least = { sync: Infinity, direct: Infinity };
  for (let round = 0; round < ROUNDS; round += 1) {
    const sync = new WorkerSync(
      { rankSlot: SYNC_RANK, model: MODEL, dpRank: 0, hasReplay: false },
      { index, decoder },
    );
    sync.connected(0);
    const syncMs = milliseconds(() => {
      for (let i = 0; i < messageCount; i += 1) sync.liveMessage(frames[i], i);
    });
    if (sync.trust !== "exact" || sync.lastSequenceNumber !== messageCount - 1) throw new Error(sync.trust);
    sync.close();
    const directMs = milliseconds(() => {
      for (let i = 0; i < messageCount; i += 1) decoder.decode(payloads[i], direct);
    });
    index.clearRank(DIRECT_RANK);
    least.sync = Math.min(least.sync, syncMs);
    least.direct = Math.min(least.direct, directMs);
  }
  const perMessage = (ms: number): number => (1e6 * ms) / messageCount;
  console.log(
    name.padEnd(30) +
      perMessage(least.sync).toFixed(0).padStart(10) +
      perMessage(least.direct).toFixed(0).padStart(10) +
      (perMessage(least.sync) - perMessage(least.direct)).toFixed(0).padStart(10) +
      (perMessage(least.sync) / blocksPerMessage).toFixed(1).padStart(10),
  );
}

/** A rank of `messageCount` messages is there; the last `missing` of them come by replay. */
function repair(messageCount: number, blocksPerMessage: number, missing: number): void {
  const payloads = Array.from({ length: messageCount }, () => payloadOf([store(hashes(blocksPerMessage))]));
  let leastMs = Infinity;
  for (let round = 0; round < 3; round += 1) {
    const sync = new WorkerSync(
      { rankSlot: SYNC_RANK, model: MODEL, dpRank: 0, hasReplay: true },
      { index, decoder },
    );
    const answer = (): void => {
      const request = sync.takeAction();
      if (request?.kind !== "request_replay") throw new Error("nothing was asked for");
      for (let i = request.from; i < known; i += 1) {
        const reply = {
          identity: NO_IDENTITY,
          shape: "topic",
          topic: "kv",
          sequenceNumber: i,
          payload: payloads[i],
        } as const;
        sync.replayMessage(request.attempt, encodeReplayReply(reply).slice(1), 0);
      }
      sync.replayMessage(request.attempt, encodeReplayEnd(NO_IDENTITY, "topic").slice(1), 0);
    };
    let known = messageCount - missing;
    sync.connected(0);
    answer();
    known = messageCount;
    const ms = milliseconds(() => {
      sync.liveMessage(encodeLiveFrames("kv", known - 1, payloads[known - 1]), 0);
      answer();
    });
    if (sync.trust !== "exact" || sync.lastSequenceNumber !== messageCount - 1) throw new Error(sync.trust);
    leastMs = Math.min(leastMs, ms);
    sync.close();
  }
  const blocks = (messageCount * blocksPerMessage).toLocaleString("en");
  console.log(
    `gap of ${missing} messages × ${blocksPerMessage} blocks in ${blocks} blocks: exact again in ${leastMs.toFixed(1)} ms of CPU`,
  );
}

console.log(`machine  ${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores`);
console.log(`node     ${version}`);
console.log(`command  ${execPath} ${argv.slice(1).join(" ")}   seed ${SEED}\n`);
console.log("nanoseconds of CPU per message".padEnd(30) + "      sync    direct      more  per block");
live("1 store of 512 blocks", 200, 512, () => [store(hashes(512))]);
live("16 stores of 8 blocks", 1000, 128, () => Array.from({ length: 16 }, () => store(hashes(8))));
live("16 × (1 removal, 1 store)", 4000, 32, steady(16));
live("1 × (1 removal, 1 store)", 20_000, 2, steady(1));
console.log();
repair(15_625, 64, 100);
repair(15_625, 64, 1000);
