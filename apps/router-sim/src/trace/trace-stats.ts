/**
 * Facts about a workload, in the words of the Mooncake traces' publication: lengths, block
 * references, and the part of each prompt that was seen before. They include the hits of caches of
 * several sizes.
 *
 *  Prefix hit     a block reference in the leading run of a request's blocks that the cache holds. The cache is one for all
 *                 requests, takes every block of a request, and forgets the least recently used. It is a ceiling: a fleet that
 *                 splits the same memory among engines, or serves a prompt where it is not held, hits less.
 *  Prefix length  tokens of a prompt's longest beginning that came up before. A partial last block
 *                 counts with its tokens.
 *  Pause          seconds since the last request that had that beginning, for beginnings of more than one block.
 *
 * Exact, and without any engine. Readers are checked against these facts, and generated workloads
 * are compared with them. A simulation with unlimited memory must meet them. One pass; memory grows
 * with distinct blocks, and 40 bytes a request.
 */
import { Samples } from "../report/percentiles.ts";
import { ReuseDistances } from "./reuse-distance.ts";
import { TRACE_BLOCK_TOKENS, type TraceRequest } from "./request.ts";

/** Cache sizes, in blocks of 512 tokens, that the facts are given for unless others are asked for. */
const CACHE_CAPACITIES = [1_000, 10_000, 30_000, 50_000] as const;

/** Shares of the ceiling for which the cache's size is given. */
const CEILING_SHARES = [0.5, 0.9, 0.99] as const;

/** Upper ends of the classes of prefix lengths, in tokens; the first class is "nothing seen before". */
const PREFIX_CLASSES = [0, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, Infinity] as const;

/** How the facts are computed. */
export interface TraceStatsSettings {
  /** Tokens per id; 512 unless told. */
  readonly blockTokens?: number;
  /** Cache sizes in blocks; as many tokens as CACHE_CAPACITIES unless told. */
  readonly capacities?: readonly number[];
}

/** A share of block references that one LRU cache hits. */
interface CacheHitShare {
  readonly capacityBlocks: number;
  /** 0 … 1 */
  readonly hitShare: number;
}

/** Nearest-rank percentiles, the mean and the largest. */
interface Spread {
  readonly mean: number;
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Requests whose prefix is longer than the class before and at most this long. */
interface PrefixClass {
  /** Infinity (null in JSON) in the last class. */
  readonly tokensMax: number;
  readonly requestShare: number;
}

/** What `trace stats` prints. */
export interface TraceStats {
  readonly requestCount: number;
  readonly blockTokens: number;
  /** Arrival of the last request. */
  readonly durationSeconds: number;
  readonly inputTokens: Spread;
  readonly outputTokens: Spread;
  readonly blockReferences: number;
  readonly distinctBlocks: number;
  /** Share of references that are prefix hits in a cache without limit, 0 … 1. */
  readonly unboundedHitShare: number;
  /** The same in tokens of the prompts. */
  readonly unboundedTokenShare: number;
  readonly lruHitShares: readonly CacheHitShare[];
  /** Least LRU capacity that hits this share of what a cache without limit hits. */
  readonly capacityForShareOfCeiling: readonly { readonly share: number; readonly capacityBlocks: number }[];
  readonly prefixTokens: Spread;
  readonly prefixClasses: readonly PrefixClass[];
  /** Of requests with a prefix of more than one block. */
  readonly pauseSeconds: Spread;
}

/**
 * Computes the facts.
 *
 * @param requests - a whole workload, in order; read once.
 * @param settings - see TraceStatsSettings.
 * @returns the facts; of an empty workload all are 0. O(block references · log distinct blocks).
 */
export async function traceStats(
  requests: AsyncIterable<TraceRequest> | Iterable<TraceRequest>,
  settings: TraceStatsSettings = {},
): Promise<TraceStats> {
  const { blockTokens = TRACE_BLOCK_TOKENS } = settings;
  const {
    capacities = CACHE_CAPACITIES.map((blocks) => Math.ceil((blocks * TRACE_BLOCK_TOKENS) / blockTokens)),
  } = settings;
  const reuse = new ReuseDistances();
  const [inputs, outputs, prefixes, pauses] = [new Samples(), new Samples(), new Samples(), new Samples()];
  const classes = new Float64Array(PREFIX_CLASSES.length);
  const arrivals = new Samples();
  let lastMs = 0;
  for await (const { arrivalMs, inputTokens, outputTokens, hashIds } of requests) {
    inputs.add(inputTokens);
    outputs.add(outputTokens);
    arrivals.add(arrivalMs);
    const { seenBlocks, lastRequest } = reuse.take(hashIds);
    if (lastRequest !== null && seenBlocks > 1)
      pauses.add((arrivalMs - (arrivals.at(lastRequest) ?? arrivalMs)) / 1000);
    const prefixTokens = Math.min(seenBlocks * blockTokens, inputTokens);
    prefixes.add(prefixTokens);
    const position = PREFIX_CLASSES.findIndex((tokensMax) => prefixTokens <= tokensMax);
    classes[position] = (classes[position] ?? 0) + 1;
    lastMs = arrivalMs;
  }
  const [unboundedHitShare = 0, ...hitShares] = reuse.hitShares([Number.POSITIVE_INFINITY, ...capacities]);
  return {
    requestCount: inputs.count,
    blockTokens,
    durationSeconds: lastMs / 1000,
    inputTokens: spreadOf(inputs),
    outputTokens: spreadOf(outputs),
    blockReferences: reuse.references,
    distinctBlocks: reuse.distinctBlocks,
    unboundedHitShare,
    unboundedTokenShare: share(prefixes.mean, inputs.mean),
    lruHitShares: capacities.map((capacityBlocks, position) => ({
      capacityBlocks,
      hitShare: hitShares[position] ?? 0,
    })),
    capacityForShareOfCeiling: CEILING_SHARES.map((part) => ({
      share: part,
      capacityBlocks: reuse.capacityFor(part),
    })),
    prefixTokens: spreadOf(prefixes),
    prefixClasses: PREFIX_CLASSES.map((tokensMax, position) => ({
      tokensMax,
      requestShare: share(classes[position] ?? 0, inputs.count),
    })),
    pauseSeconds: spreadOf(pauses),
  };
}

/** Characters of the longest bar. */
const BAR_WIDTH = 40;

/**
 * Writes the facts for people.
 *
 * @param name - what the workload is called.
 * @param stats - the facts.
 * @returns lines of text, without a final newline.
 */
export function describeTrace(name: string, stats: TraceStats): string {
  const perSecond = share(stats.requestCount, stats.durationSeconds);
  return [
    `workload           ${name}`,
    `requests           ${whole(stats.requestCount)} in ${whole(stats.durationSeconds)} s, ${perSecond.toFixed(2)} a second`,
    `input tokens       ${describeSpread(stats.inputTokens)}`,
    `output tokens      ${describeSpread(stats.outputTokens)}`,
    `block references   ${whole(stats.blockReferences)} (${stats.blockTokens} tokens each), ` +
      `${whole(stats.distinctBlocks)} distinct`,
    "",
    "reuse: the ceiling for any router, one LRU cache for all engines",
    `  ${percent(stats.unboundedHitShare)} of block references (${percent(stats.unboundedTokenShare).trim()} of tokens) without limit`,
    ...stats.lruHitShares.map(
      ({ capacityBlocks, hitShare }) =>
        `  ${percent(hitShare)} with ${describeCapacity(capacityBlocks, stats.blockTokens)}`,
    ),
    ...stats.capacityForShareOfCeiling.map(
      ({ share: part, capacityBlocks }) =>
        `  ${percent(part * stats.unboundedHitShare)} (${part * 100} % of the ceiling) needs ${describeCapacity(capacityBlocks, stats.blockTokens)}`,
    ),
    "",
    "prefix length: tokens of each prompt that came up before",
    `  ${describeSpread(stats.prefixTokens)}`,
    ...describeClasses(stats.prefixClasses),
    "",
    "pause since a prefix of more than one block was last used, seconds",
    `  ${describeSpread(stats.pauseSeconds)}`,
  ].join("\n");
}

function describeClasses(classes: readonly PrefixClass[]): string[] {
  const largest = Math.max(...classes.map(({ requestShare }) => requestShare));
  return classes.map(({ tokensMax, requestShare }, position) => {
    const before = classes[position - 1]?.tokensMax ?? 0;
    let label = `${whole(before + 1)} … ${whole(tokensMax)}`;
    if (tokensMax === 0) label = "none";
    if (tokensMax === Infinity) label = `over ${whole(before)}`;
    const bar = "█".repeat(Math.round(BAR_WIDTH * share(requestShare, largest)));
    return `  ${label.padStart(17)}  ${percent(requestShare)}  ${bar}`.trimEnd();
  });
}

function describeSpread({ mean, p10, p50, p90, p99, max }: Spread): string {
  const figures = [p10, p50, p90, p99, max].map(whole).join(" / ");
  return `mean ${whole(mean)}; p10 / p50 / p90 / p99 / max ${figures}`;
}

function describeCapacity(blocks: number, blockTokens: number): string {
  return `${whole(blocks)} blocks (${((blocks * blockTokens) / 1e6).toFixed(2)} million tokens)`;
}

function percent(value: number): string {
  return `${(100 * value).toFixed(2).padStart(6)} %`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function spreadOf(samples: Samples): Spread {
  const [p10 = 0, p50 = 0, p90 = 0, p99 = 0, max = 0] = samples.percentiles([0.1, 0.5, 0.9, 0.99, 1]) ?? [];
  return { mean: samples.mean, p10, p50, p90, p99, max };
}

function share(part: number, all: number): number {
  return all === 0 ? 0 : part / all;
}
