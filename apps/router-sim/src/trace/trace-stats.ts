/**
 * Facts about a trace, in the words of its publication: lengths, block references, and what caches of several sizes
 * would have hit. A *prefix hit* is a block reference in the leading run of a request's blocks that the cache holds; the
 * cache is one for all requests, takes every block of a request, and forgets the least recently used.
 *
 * Exact, and without any engine: it is what a reader is checked against, and what a generated workload is compared with.
 */
import { TRACE_BLOCK_TOKENS, type TraceRequest } from "./request.ts";

/** Cache sizes, in trace blocks of 512 tokens, that the facts are given for. */
const CACHE_CAPACITIES = [1_000, 10_000, 30_000, 50_000] as const;

/** A share of block references that one LRU cache hits. */
interface CacheHitShare {
  readonly capacityBlocks: number;
  /** 0 … 1 */
  readonly hitShare: number;
}

/** What `trace-stats` prints. */
export interface TraceStats {
  readonly requestCount: number;
  readonly durationSeconds: number;
  readonly inputTokensMean: number;
  readonly inputTokensMax: number;
  readonly outputTokensMean: number;
  readonly outputTokensMax: number;
  readonly blockReferences: number;
  readonly distinctBlocks: number;
  /** Share of references that are prefix hits in a cache without limit, 0 … 1. */
  readonly unboundedHitShare: number;
  readonly lruHitShares: readonly CacheHitShare[];
}

/**
 * One LRU cache over block ids: a Set keeps its members in order of insertion, which is the order of use here. One iterator
 * walks behind for ever: all before it is gone, so its next member is the oldest. A new iterator for each drop would step
 * over all the gaps again (measured: 20 times slower).
 */
class LruCache {
  readonly #capacity: number;
  readonly #ids = new Set<number>();
  readonly #oldest = this.#ids.values();
  hits = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  take(ids: readonly number[]): void {
    let leading = true;
    for (const id of ids) {
      if (this.#ids.delete(id)) {
        if (leading) this.hits += 1;
      } else {
        leading = false;
      }
      this.#ids.add(id);
      if (this.#ids.size > this.#capacity) {
        const oldest = this.#oldest.next();
        if (oldest.done !== true) this.#ids.delete(oldest.value);
      }
    }
  }
}

/**
 * Computes the facts.
 *
 * @param requests - a whole trace, in order; read once.
 * @returns the facts; of an empty trace all are 0. O(block references).
 */
export async function traceStats(
  requests: AsyncIterable<TraceRequest> | Iterable<TraceRequest>,
): Promise<TraceStats> {
  const caches = CACHE_CAPACITIES.map((capacity) => new LruCache(capacity));
  const unbounded = new LruCache(Number.POSITIVE_INFINITY);
  const distinct = new Set<number>();
  const total = { requests: 0, inputs: 0, outputs: 0, references: 0 };
  let inputTokensMax = 0;
  let outputTokensMax = 0;
  let lastMs = 0;
  for await (const request of requests) {
    total.requests += 1;
    total.inputs += request.inputTokens;
    total.outputs += request.outputTokens;
    total.references += request.hashIds.length;
    inputTokensMax = Math.max(inputTokensMax, request.inputTokens);
    outputTokensMax = Math.max(outputTokensMax, request.outputTokens);
    lastMs = request.arrivalMs;
    for (const id of request.hashIds) distinct.add(id);
    for (const cache of caches) cache.take(request.hashIds);
    unbounded.take(request.hashIds);
  }
  return {
    requestCount: total.requests,
    durationSeconds: lastMs / 1000,
    inputTokensMean: share(total.inputs, total.requests),
    inputTokensMax,
    outputTokensMean: share(total.outputs, total.requests),
    outputTokensMax,
    blockReferences: total.references,
    distinctBlocks: distinct.size,
    unboundedHitShare: share(unbounded.hits, total.references),
    lruHitShares: caches.map((cache, position) => ({
      capacityBlocks: CACHE_CAPACITIES[position] ?? 0,
      hitShare: share(cache.hits, total.references),
    })),
  };
}

/**
 * Writes the facts for people.
 *
 * @param name - what the trace is called.
 * @param stats - the facts.
 * @returns lines of text, without a final newline.
 */
export function describeTrace(name: string, stats: TraceStats): string {
  const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;
  const whole = (value: number): string => Math.round(value).toLocaleString("en-US");
  return [
    `trace              ${name}`,
    `requests           ${whole(stats.requestCount)} in ${whole(stats.durationSeconds)} s`,
    `input tokens       mean ${whole(stats.inputTokensMean)}, max ${whole(stats.inputTokensMax)}`,
    `output tokens      mean ${whole(stats.outputTokensMean)}, max ${whole(stats.outputTokensMax)}`,
    `block references   ${whole(stats.blockReferences)} (${TRACE_BLOCK_TOKENS} tokens each), ` +
      `${whole(stats.distinctBlocks)} distinct`,
    `prefix hits        ${percent(stats.unboundedHitShare)} of references, one cache without limit`,
    ...stats.lruHitShares.map(
      ({ capacityBlocks, hitShare }) =>
        `                   ${percent(hitShare)} with one LRU cache of ${whole(capacityBlocks)} blocks`,
    ),
  ].join("\n");
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
