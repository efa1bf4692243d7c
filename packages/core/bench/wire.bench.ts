/**
 * The cost of decoding, per KV block of 16 tokens, next to a general msgpack decoder on the same
 * bytes.
 *
 * Messages are seeded and have the sizes of real ones: token ids of a 152k vocabulary and hashes of
 * 64 random bits. Two in five token ids take two bytes and the others four. The sink does nothing,
 * so that only decoding into the scratch is measured. Each measurement uses many messages of one
 * kind. With a single message the processor predicts its widths, which no real stream allows.
 * Run: npx pnpm@12.21.0 --filter @kvsync/core bench
 */
import { cpus } from "node:os";
import { argv, execPath, version } from "node:process";
import { type Dialect, encodeEventBatch, EventBatchDecoder, type KvEvent, Prng } from "@kvsync/core";
import { decode as decodeGenerally } from "@msgpack/msgpack";
import { do_not_optimize, measure } from "mitata";

const SEED = 20260922;
const BLOCK_SIZE = 16;
const VOCABULARY_SIZE = 152_064;
const PAYLOAD_COUNT = 64;

const prng = new Prng(SEED);
const scratch = { tokens: new Uint32Array(16_384), hashes: new Uint32Array(2_048) };
const decoder = new EventBatchDecoder(scratch);
let blocksSeen = 0;
const sink = {
  onBlockStored: (event: { blockCount: number }): void => {
    blocksSeen += event.blockCount;
  },
  onBlockRemoved: (event: { blockCount: number }): void => {
    blocksSeen += event.blockCount;
  },
  onAllBlocksCleared: (): void => undefined,
  onUnknownField: (): void => undefined,
  onFault: ({ error }: { error: Error }): void => {
    throw error;
  },
};

function randomHash(): bigint {
  return (BigInt(prng.nextU32()) << 32n) | BigInt(prng.nextU32());
}

function store(blockCount: number): KvEvent {
  return {
    type: "BlockStored",
    blockHashes: Array.from({ length: blockCount }, randomHash),
    parentBlockHash: randomHash(),
    tokenIds: Uint32Array.from({ length: blockCount * BLOCK_SIZE }, () => prng.below(VOCABULARY_SIZE)),
    blockSize: BLOCK_SIZE,
    medium: "GPU",
    extraKeys: Array<null>(blockCount).fill(null),
    groupIdx: 0,
    kvCacheSpecKind: "full_attention",
  };
}

function removal(): KvEvent {
  return { type: "BlockRemoved", blockHashes: [randomHash()], medium: "GPU", groupIdx: 0 };
}

function times(count: number, make: () => KvEvent): KvEvent[] {
  return Array.from({ length: count }, make);
}

/** What an engine sends: a prefill chunk, a decode step of sixteen sequences, evictions, and the steady mixture. */
const MESSAGES: readonly (readonly [name: string, blockCount: number, make: () => KvEvent[]])[] = [
  ["1 store of 512 blocks", 512, () => [store(512)]],
  ["16 stores of 8 blocks", 128, () => times(16, () => store(8))],
  ["16 stores of 1 block", 16, () => times(16, () => store(1))],
  ["1 store of 1 block", 1, () => [store(1)]],
  ["64 removals of 1 block", 64, () => times(64, removal)],
  ["16 × (1 removal, 1 store)", 32, () => times(16, () => store(1)).flatMap((event) => [removal(), event])],
];

async function nanoseconds(
  payloads: readonly Uint8Array[],
  run: (payload: Uint8Array) => unknown,
): Promise<number> {
  let turn = 0;
  const { p50 } = await measure(() => {
    turn = (turn + 1) % PAYLOAD_COUNT;
    do_not_optimize(run(payloads[turn]));
  });
  return p50;
}

console.log(`machine  ${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores`);
console.log(`node     ${version}`);
console.log(`command  ${execPath} ${argv.slice(1).join(" ")}   seed ${SEED}`);
console.log("median nanoseconds per block\n");
console.log(`${"dialect".padEnd(12)}${"message".padEnd(28)}bytes/block  kvsync  general  ratio`);
for (const dialect of ["vllm-0.21", "vllm-0.29"] satisfies Dialect[]) {
  for (const [name, blockCount, make] of MESSAGES) {
    const payloads = Array.from({ length: PAYLOAD_COUNT }, () =>
      encodeEventBatch({ timestampSeconds: 1_757_500_000.25, events: make(), dataParallelRank: 0 }, dialect),
    );
    const bytes = payloads.reduce((total, payload) => total + payload.byteLength, 0) / PAYLOAD_COUNT;
    const ours = (await nanoseconds(payloads, (payload) => decoder.decode(payload, sink))) / blockCount;
    const general =
      (await nanoseconds(payloads, (payload) => decodeGenerally(payload, { useBigInt64: true }))) /
      blockCount;
    console.log(
      dialect.padEnd(12) +
        name.padEnd(28) +
        (bytes / blockCount).toFixed(0).padStart(11) +
        ours.toFixed(1).padStart(8) +
        general.toFixed(1).padStart(9) +
        `${(general / ours).toFixed(1)}×`.padStart(7),
    );
  }
}
if (blocksSeen === 0) throw new Error("nothing was decoded");
