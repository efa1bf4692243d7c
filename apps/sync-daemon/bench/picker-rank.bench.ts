/**
 * The time of a pick for a long prompt whose tokens are known: lookup in the index, ranking among a fleet, booking.
 *
 *     node apps/sync-daemon/bench/picker-rank.bench.ts [tokens=131072] [endpoints=64] [per second=10]
 *
 * Each engine holds a beginning of one prompt, of a length of its own. A prompt that is asked for has a beginning of it, too, and
 * new tokens behind it. The picker's own memory names the prompt's beginnings, keeps them for ten seconds, and drops them.
 */
import { argv } from "node:process";

import { EventBatchDecoder, PrefixIndex, PrefixReader, Prng, WorkerSync } from "@kvsync/core";

import { BoardReader, BoardWriter, createBoardMemory } from "../src/board/stream-board.ts";
import { EngineNames } from "../src/engine/engine-directory.ts";
import { engineEntry } from "../src/engine/engine-entry.ts";
import { EndpointFleet, type PickRequest } from "../src/picker/endpoint-fleet.ts";
import { PromptLookup } from "../src/picker/prompt-lookup.ts";
import { machine, MODEL } from "./picker-process.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const SEED = 20_261_130;
const WARM_UP = 100;
const PICKS = 500;
const FALLBACKS = 2;
const CAPACITY_TOKENS = 400_000;
const BLOCK_TOKENS = 16;
/** Blocks of one event. */
const RUN_BLOCKS = 64;

const tokens = benchFigure("tokens", argv[2] ?? 131_072, 1, 1_048_576);
const endpoints = benchFigure("endpoints", argv[3] ?? 64, 1, 4_096);
const perSecond = benchFigure("requests per second", argv[4] ?? 10, 1, 100_000);
const random = new Prng(SEED);
const ids = Array.from({ length: endpoints }, (_, i) => `engine-${i}`);
const common = fresh();

function fresh(): Uint32Array {
  return Uint32Array.from({ length: tokens }, () => random.below(128_000));
}

/** An index in which each engine holds its beginning of the common prompt, and what a lookup needs besides. */
function lookupOf(): PromptLookup {
  const index = PrefixIndex.create();
  const memory = createBoardMemory();
  const writer = new BoardWriter(memory, 0, () => 0);
  const names = new EngineNames();
  const contextId = index.openContext({
    model: MODEL,
    loraName: null,
    blockSize: BLOCK_TOKENS,
    lookahead: 0,
  });
  for (const [rankSlot, id] of ids.entries()) {
    const engine = engineEntry.parse({ id, model: MODEL, endpoint: `tcp://10.0.0.${rankSlot}:5557` });
    names.add({ engine, ranks: [{ dpRank: 0, rankSlot }] });
    const sync = new WorkerSync(
      { rankSlot, model: MODEL, dpRank: 0, hasReplay: false },
      { index, decoder: new EventBatchDecoder(index.scratch) },
    );
    sync.connected(0);
    writer.position(rankSlot, sync, true);
    const held = random.below(tokens / BLOCK_TOKENS);
    for (let first = 0; first < held; first += RUN_BLOCKS) {
      const count = Math.min(RUN_BLOCKS, held - first);
      const { scratch } = index;
      scratch.tokens.set(common.subarray(first * BLOCK_TOKENS, (first + count) * BLOCK_TOKENS));
      // An engine's own names: of its first block 1, of the next 2.
      for (let i = 0; i < count; i++) scratch.hashes.set([first + i + 1, 0], 2 * i);
      index.storeBlocks(contextId, rankSlot, 0, count, first > 0, first, 0, false);
    }
  }
  const board = new BoardReader(memory, () => 0);
  return new PromptLookup(
    { reader: PrefixReader.attach(index.shared), board, registry: names, now: () => 0 },
    tokens,
  );
}

const lookup = lookupOf();
const fleet = new EndpointFleet({ capacityTokens: CAPACITY_TOKENS, rankHeader: false });
fleet.update(ids.map((id, i) => ({ id, model: MODEL, ranks: [{ dpRank: 0 }], http: [`10.0.0.${i}:8000`] })));
const times = { lookup: [] as number[], rank: [] as number[], both: [] as number[] };
let matches = 0;
for (let i = 0; i < WARM_UP + PICKS; i++) {
  const prompt = fresh();
  const cut = random.below(tokens);
  prompt.set(common.subarray(0, cut));
  const began = process.hrtime.bigint();
  const served = lookup.model(MODEL, null);
  if (served === null) throw new Error("the model has engines");
  const holds = lookup.holds(served, prompt) ?? [];
  const looked = process.hrtime.bigint();
  const request: PickRequest = {
    workers: served.workers,
    subset: null,
    promptTokens: tokens,
    names: lookup.namesOf(tokens),
    holds,
  };
  fleet.pick(i, request, 1 + FALLBACKS, i / perSecond);
  const picked = process.hrtime.bigint();
  fleet.end(i);
  if (i < WARM_UP) continue;
  matches += holds.filter(({ matchedTokens }) => matchedTokens > 0).length;
  times.lookup.push(Number(looked - began) / 1000);
  times.rank.push(Number(picked - looked) / 1000);
  times.both.push(Number(picked - began) / 1000);
}
console.log(
  `${machine()}, seed ${SEED}: ${tokens} tokens, ${endpoints} endpoints, ${perSecond} a second, ` +
    `${(matches / PICKS).toFixed(1)} with a match`,
);
for (const [what, micros] of Object.entries(times)) {
  micros.sort((a, b) => a - b);
  const at = (share: number): string => (micros[Math.floor(micros.length * share)] ?? Number.NaN).toFixed(0);
  console.log(`  ${what}: p10 ${at(0.1)}, p50 ${at(0.5)}, p90 ${at(0.9)} µs`);
}
