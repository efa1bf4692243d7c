/**
 * A router's record without any event: the worker to which it sent each prefix lately.
 *
 *     prompt   │ chunk 0 │ chunk 1 │ chunk 2 │ rest │     named by prompt-prefixes.ts at their ends
 *     table    prefix ─▶ tenant, until; tenant, until; …
 *     tenant   position + POSITIONS_MAX × how many workers left that position before
 *
 *  D1  `match` gives a worker the chunks that were all sent to it and have not expired, without a
 *      hole (decision-history.test.ts "D1").
 *  D2  A prefix sent to a worker again lives on from then (decision-history.test.ts "D2").
 *  D3  At most CHUNKS_MAX entries live; the oldest go first (decision-history.test.ts "D3").
 *  D4  A prefix sent to a worker does not count for the next worker at its position
 *      (decision-history.test.ts "D4").
 *
 * Source of the idea, of the two minutes and of the limit: Dynamo's approximate indexer,
 * ai-dynamo/dynamo lib/kv-router/src/approx.rs @ 209c9e83 (PruneConfig).
 */
import { POSITIONS_MAX, type RoutingRequest } from "./policy.ts";
import { namePrefixes } from "./prompt-prefixes.ts";

/** 2²⁰ chunks of 256 tokens: the prompts of 268 million tokens. About 100 MB. */
const CHUNKS_MAX: number = 2 ** 20;

/** See the header. */
export class DecisionHistory {
  readonly #lifeSeconds: number;
  readonly #chunkTokens: number;
  readonly #chunksMax: number;
  /** Who is at each position now. */
  readonly #tenants: Float64Array;
  /** Tenant, until, tenant, until, … by prefix. */
  readonly #chunks = new Map<number, number[]>();
  /** Prefixes and their ends of life in order of decision, as a ring of two columns. */
  #keys = new Float64Array(1024);
  #until = new Float64Array(1024);
  #first = 0;
  #count = 0;
  #prompt: readonly number[] = [];

  /**
   * @param positionCount - positions of the fleet, empty ones included.
   * @param lifeSeconds - how long a decision counts.
   * @param chunkTokens - how finely prompts are remembered; each chunk costs a table entry.
   * @param chunksMax - entries that live at most.
   */
  constructor(
    positionCount: number,
    lifeSeconds: number,
    chunkTokens: number,
    chunksMax: number = CHUNKS_MAX,
  ) {
    this.#lifeSeconds = lifeSeconds;
    this.#chunkTokens = chunkTokens;
    this.#chunksMax = chunksMax;
    this.#tenants = Float64Array.from({ length: positionCount }, (_, position) => position);
  }

  /** Entries that live. */
  get chunkCount(): number {
    return this.#count;
  }

  /** Forgets what was sent to a position. O(1): its entries expire unread. */
  leave(position: number): void {
    this.#tenants[position] = (this.#tenants[position] ?? position) + POSITIONS_MAX;
  }

  /**
   * Finds what of a prompt was sent where.
   *
   * @param request - `record` means this one afterwards.
   * @param matched - receives tokens by position; its length is the number of positions.
   * @param nowSeconds - decisions that ended before do not count.
   * @returns whether anything was sent anywhere.
   */
  match(request: RoutingRequest, matched: Float64Array, nowSeconds: number): boolean {
    this.#expire(nowSeconds);
    matched.fill(0);
    const { prefixes, chunkTokens } = namePrefixes(request, this.#chunkTokens);
    this.#prompt = prefixes;
    let isFound = false;
    for (const [chunk, key] of prefixes.entries()) {
      const entry = this.#chunks.get(key);
      if (entry === undefined) break;
      for (let i = 0; i < entry.length; i += 2) {
        const tenant = entry[i] ?? 0;
        const position = tenant % POSITIONS_MAX;
        const isThere = this.#tenants[position] === tenant;
        const isUnbroken = matched[position] === chunk * chunkTokens;
        if (!isThere || !isUnbroken || (entry[i + 1] ?? 0) <= nowSeconds) continue;
        matched[position] = (chunk + 1) * chunkTokens;
        isFound = true;
      }
    }
    return isFound;
  }

  /** Prefixes of the prompt of the last `match`, one per chunk. */
  get prompt(): readonly number[] {
    return this.#prompt;
  }

  /**
   * Remembers that a prompt goes to a position.
   *
   * @param prompt - its prefixes; those of the last `match` unless given.
   */
  record(position: number, nowSeconds: number, prompt: readonly number[] = this.#prompt): void {
    const tenant = this.#tenants[position];
    if (tenant === undefined) return;
    const until = nowSeconds + this.#lifeSeconds;
    for (const key of prompt) {
      const entry = this.#chunks.get(key);
      if (entry === undefined) this.#chunks.set(key, [tenant, until]);
      else prolong(entry, tenant, until);
      this.#push(key, until);
    }
  }

  #push(key: number, until: number): void {
    if (this.#count === this.#keys.length) this.#grow();
    const at = (this.#first + this.#count) % this.#keys.length;
    this.#keys[at] = key;
    this.#until[at] = until;
    this.#count++;
    if (this.#count > this.#chunksMax) this.#dropOldest();
  }

  #grow(): void {
    const size = this.#keys.length;
    const [keys, until] = [new Float64Array(2 * size), new Float64Array(2 * size)];
    for (let i = 0; i < this.#count; i++) {
      keys[i] = this.#keys[(this.#first + i) % size] ?? 0;
      until[i] = this.#until[(this.#first + i) % size] ?? 0;
    }
    [this.#keys, this.#until, this.#first] = [keys, until, 0];
  }

  #expire(nowSeconds: number): void {
    while (this.#count > 0 && (this.#until[this.#first] ?? 0) <= nowSeconds) this.#dropOldest();
  }

  /** Takes the tenant of the oldest decision out, unless a younger decision prolonged it. */
  #dropOldest(): void {
    const key = this.#keys[this.#first] ?? 0;
    const until = this.#until[this.#first] ?? 0;
    this.#first = (this.#first + 1) % this.#keys.length;
    this.#count--;
    const entry = this.#chunks.get(key);
    if (entry === undefined) return;
    for (let i = entry.length - 2; i >= 0; i -= 2) if ((entry[i + 1] ?? 0) <= until) entry.splice(i, 2);
    if (entry.length === 0) this.#chunks.delete(key);
  }
}

function prolong(entry: number[], tenant: number, until: number): void {
  for (let i = 0; i < entry.length; i += 2) {
    if (entry[i] !== tenant) continue;
    entry[i + 1] = until;
    return;
  }
  entry.push(tenant, until);
}
