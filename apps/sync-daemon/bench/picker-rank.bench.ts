/**
 * The time of ranking one long prompt among a fleet, and of booking it. A pick takes that long after its lookup in the index.
 *
 *     node apps/sync-daemon/bench/picker-rank.bench.ts [tokens=131072] [endpoints=64] [per second=10]
 *
 * Much of it is the picker's own memory: the prompt's beginnings are named, kept for ten seconds, and dropped. Each prompt is new.
 */
import { argv } from "node:process";

import { Prng } from "@kvsync/core";

import { EndpointFleet, type PickRequest } from "../src/picker/endpoint-fleet.ts";
import { machine, MODEL } from "./picker-process.ts";

const SEED = 20_261_130;
const WARM_UP = 100;
const PICKS = 500;
const FALLBACKS = 2;
const CAPACITY_TOKENS = 400_000;
const BLOCK_TOKENS = 16;

const tokens = Number(argv[2] ?? 131_072);
const endpoints = Number(argv[3] ?? 64);
const perSecond = Number(argv[4] ?? 10);
const random = new Prng(SEED);
const ids = Array.from({ length: endpoints }, (_, i) => `engine-${i}`);
const fleet = new EndpointFleet({ capacityTokens: CAPACITY_TOKENS, rankHeader: false });
fleet.update(ids.map((id, i) => ({ id, model: MODEL, ranks: [{ dpRank: 0 }], http: [`10.0.0.${i}:8000`] })));
const asked = {
  workers: new Set(ids),
  subset: null,
  promptTokens: tokens,
  holds: ids.map((worker) => {
    const held = BLOCK_TOKENS * random.below(tokens / BLOCK_TOKENS);
    const amounts = { matchedTokens: held, slowTokens: 0, heldTokens: held, blockSize: BLOCK_TOKENS };
    return { worker, dpRank: 0, trust: "exact" as const, ...amounts };
  }),
};
const micros: number[] = [];
for (let i = 0; i < WARM_UP + PICKS; i++) {
  const request: PickRequest = {
    ...asked,
    names: Uint32Array.from({ length: tokens }, () => random.below(128_000)),
  };
  const began = process.hrtime.bigint();
  fleet.pick(i, request, 1 + FALLBACKS, i / perSecond);
  const took = Number(process.hrtime.bigint() - began) / 1000;
  fleet.end(i);
  if (i >= WARM_UP) micros.push(took);
}
micros.sort((a, b) => a - b);
const at = (share: number): string => (micros[Math.floor(micros.length * share)] ?? Number.NaN).toFixed(0);
console.log(
  `${machine()}, seed ${SEED}: ${tokens} tokens, ${endpoints} endpoints, ${perSecond} a second: p10 ${at(0.1)}, p50 ${at(0.5)}, p90 ${at(0.9)} µs`,
);
